"""`fakesweep prune`: delete old scans."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from fakesweep.exits import Exit
from fakesweep.foreground.progress import LINE_SECONDS
from fakesweep.foreground.signals import told_to_stop
from fakesweep.ledger_access import reading
from fakesweep.output import write_json, write_table
from fakesweep.producer.retention.prune import Deleted, Plan, forget, plan_forgetting
from fakesweep.schema.ages import moment_of
from fakesweep.schema.errors import RetentionError
from fakesweep.schema.ledger.retention.ended_scans import clock
from fakesweep.schema.ledger.scans.names import find_scan
from fakesweep.schema.settings import read_settings
from fakesweep.summary import moment
from fakesweep.text import is_terminal

COLUMNS = ("scan", "name", "ended", "images", "to delete")


def prune(
    *, scans: tuple[str, ...], older_than: str, dry_run: bool, yes: bool, in_json: bool
) -> Exit:
    """Delete old scans."""
    if not (yes or dry_run or is_terminal(sys.stdin)):
        raise RetentionError(
            "there is no terminal to ask on: look with --dry-run at what would be deleted, then "
            "say --yes"
        )
    with reading(read_settings()) as connection:
        before = moment_of(older_than, clock(connection))
        chosen = tuple(find_scan(connection, scan) for scan in scans)
        plan = plan_forgetting(connection, before, chosen)
        if dry_run or not in_json:
            _show(plan, in_json=in_json)
        if dry_run:
            return Exit.DONE
        if not yes:
            click.confirm(
                f"Delete {plan.images} images of scans that ended before {moment(before)}, for "
                f"good?",
                abort=True,
                err=True,
            )
        told = Deleted()
        with told_to_stop() as stop, _shown(plan.images) as show:
            for told in forget(connection, plan, stop):
                show(told.images)
    if in_json:
        write_json(_as_json(plan) | _told_as_json(told, is_whole=not stop.is_set()))
    else:
        click.echo(_said(told, is_whole=not stop.is_set()))
    return Exit.INTERRUPTED if stop.is_set() else Exit.DONE


def _show(plan: Plan, *, in_json: bool) -> None:
    if in_json:
        write_json(_as_json(plan))
        return
    if plan.scans:
        rows = (
            (scan.scan_id, scan.name, moment(scan.ended_at), scan.images, images)
            for scan, images in plan.scans
        )
        write_table(COLUMNS, rows)
        click.echo()
    click.echo(
        f"ended before {moment(plan.before)}: scans {len(plan.scans)}, "
        f"images to delete {plan.images}"
    )
    if plan.kept_whole:
        click.echo(f"scans kept, since later audits refer to all their images: {plan.kept_whole}")


@contextmanager
def _shown(images: int) -> Iterator[Callable[[int], None]]:
    """Yield a callback for the images deleted: a bar on a terminal, else a line every 5 s."""
    if sys.stderr.isatty():
        from fakesweep import terminal  # noqa: PLC0415 - rich is loaded for terminals only

        with terminal.progress_bar("prune") as move:
            yield lambda gone: move(gone, images, f"{gone} of {images} images")
        return
    next_line = time.monotonic() + LINE_SECONDS

    def show(gone: int) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            next_line = time.monotonic() + LINE_SECONDS
            click.echo(f"prune: {gone} of {images} images deleted", err=True)

    yield show


def _as_json(plan: Plan) -> dict[str, object]:
    return {
        "before": plan.before,
        "scans": [
            {
                "scan_id": scan.scan_id,
                "name": scan.name,
                "ended_at": scan.ended_at,
                "images": scan.images,
                "to_forget": images,
            }
            for scan, images in plan.scans
        ],
        "images_to_forget": plan.images,
        "kept_whole": plan.kept_whole,
    }


def _told_as_json(told: Deleted, *, is_whole: bool) -> dict[str, object]:
    return {
        "forgotten": {
            "scans": told.scans,
            "images": told.images,
            "verdicts": told.verdicts,
            "contents": told.contents,
        },
        "contents_stay": told.contents_stay,
        "is_whole": is_whole,
    }


def _said(told: Deleted, *, is_whole: bool) -> str:
    said = (
        f"deleted: images {told.images}, verdicts {told.verdicts}, scans {told.scans}, "
        f"contents {told.contents}"
    )
    if told.contents_stay:
        said += "; contents without an image stay until the next run, since workers were busy"
    if not is_whole:
        said += "; stopped before the end: run it again to go on"
    return said
