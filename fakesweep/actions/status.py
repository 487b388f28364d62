"""`fakesweep status`: progress of scans, load of workers, and why a scan does not move."""

import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC
from typing import Any
from uuid import UUID

import click
from sqlalchemy import Connection

from fakesweep.costs import Cost, cost_of
from fakesweep.diagnosis import Blocker, blockers_of, missing_of, troubles_in_words
from fakesweep.ledger_access import reading
from fakesweep.output import write_json, write_table
from fakesweep.presence import gone_here
from fakesweep.schema.ledger.batches.deferrals import Troubles, troubles
from fakesweep.schema.ledger.dead_letters import acknowledge_unreadable, unreadable_count
from fakesweep.schema.ledger.registry.model_errors import model_troubles
from fakesweep.schema.ledger.registry.processes import LIVE_SECONDS
from fakesweep.schema.ledger.reports.progress import Progress, recent_scans
from fakesweep.schema.ledger.reports.scan_workers import scan_workers
from fakesweep.schema.ledger.reports.stalls import movement
from fakesweep.schema.ledger.reports.workers import WorkerReport, live_workers
from fakesweep.schema.ledger.scans.names import LAST, find_scan
from fakesweep.schema.settings import Settings, read_settings
from fakesweep.schema.words import ScanState
from fakesweep.summary import (
    Summary,
    as_json,
    as_page,
    identity,
    left_in_words,
    listing,
    page_line,
    progress_as_json,
    rates_in_words,
    read_summary,
)
from fakesweep.text import printable, program, seconds_in_words
from fakesweep.throughput import worker_line

REFRESH_SECONDS = 1.0

COUNTING_SHARE = 10

COLUMNS = ("scan", "name", "state", "submitted", "classified", "reused", "failed", "pending",
           "unchanged", "images/s", "left", "models", "asked for")  # fmt: skip


@dataclass(frozen=True, slots=True)
class StatusView:
    """A scan's summary, the live workers, and what blocks it.

    `cost` is None without a price. `quarantined` counts images of the scan, `unreadable` messages
    of all scans.
    """

    summary: Summary
    cost: Cost | None
    workers: Sequence[WorkerReport]
    blockers: Sequence[Blocker]
    quarantined: int
    unreadable: int


def status(*, scan: str | None, in_json: bool, watch: bool, acknowledge: bool) -> None:
    """Show the progress of a scan, or of all recent scans."""
    settings = read_settings()
    with reading(settings) as connection:
        if acknowledge:
            acknowledge_unreadable(connection)
            connection.commit()
        if watch:
            chosen = find_scan(connection, scan or LAST)
            _watch(_until_it_ends(connection, chosen, settings), in_json=in_json)
        elif scan is None:
            _list_scans(connection, settings, in_json=in_json)
        else:
            view = _view(connection, find_scan(connection, scan), settings)
            if in_json:
                write_json(_view_as_json(view))
            else:
                click.echo(_view_as_page(view))


def _list_scans(connection: Connection, settings: Settings, *, in_json: bool) -> None:
    scans = recent_scans(connection)
    gone = gone_here(connection, settings)
    workers = live_workers(connection, LIVE_SECONDS, gone)
    unreadable = unreadable_count(connection)
    found = troubles(connection)
    if in_json:
        write_json(
            {
                "scans": [progress_as_json(scan) for scan in scans],
                "troubled_batches": found.batches,
                "unreadable_messages": unreadable,
                "workers": _as_json(workers),
            }
        )
        return
    write_table(
        COLUMNS,
        (
            (scan.scan_id, scan.name, scan.state, scan.submitted, scan.classified, scan.reused,
             scan.failed, scan.pending, scan.unchanged if scan.is_audit else None,
             f"{scan.images_per_second:.1f}", _time_left(scan), " ".join(scan.models),
             f"{scan.created_at.astimezone(UTC):%Y-%m-%d %H:%M}")
            for scan in scans
        ),
    )  # fmt: skip
    lines = [
        *_missing_lines(connection, scans, settings, gone),
        *_trouble_lines(found),
        *_unreadable_lines(unreadable),
        *_worker_lines(workers),
    ]
    if lines:
        click.echo("\n" + "\n".join(lines))


def _missing_lines(
    connection: Connection, scans: Sequence[Progress], settings: Settings, gone: Collection[UUID]
) -> Iterator[str]:
    """Yield a line for each missing worker or producer of an unfinished scan."""
    for scan in scans:
        if ScanState(scan.state).is_last or scan.paused_at is not None:
            continue
        found = movement(connection, scan.scan_id, within_seconds=LIVE_SECONDS, gone=gone)
        for blocker in missing_of(scan, found, settings):
            yield page_line("waiting", f"scan {scan.scan_id}: {blocker.said}")


def _time_left(scan: Progress) -> str | None:
    if scan.seconds_left_so_far is not None:
        return f"{seconds_in_words(scan.seconds_left_so_far)} so far"
    return None if scan.seconds_left is None else seconds_in_words(scan.seconds_left)


def _view(
    connection: Connection, scan_id: int, settings: Settings, counted: Summary | None = None
) -> StatusView:
    summary = read_summary(connection, scan_id, counted)
    gone = gone_here(connection, settings)
    workers = live_workers(connection, LIVE_SECONDS, gone)
    found = movement(connection, scan_id, within_seconds=LIVE_SECONDS, gone=gone)
    unreadable = unreadable_count(connection)
    troubles = model_troubles(connection, summary.progress.models)
    cost = _cost(connection, summary.progress, settings)
    connection.rollback()  # no transaction stays open while the broker is asked
    blockers = blockers_of(summary.progress, found, settings, troubles)
    if any(blocker.reason.is_blocking for blocker in blockers):
        blocked = replace(summary.progress, seconds_left=None, seconds_left_so_far=None)
        summary = replace(summary, progress=blocked)
    return StatusView(summary, cost, workers, blockers, found.quarantined, unreadable)


def _cost(connection: Connection, now: Progress, settings: Settings) -> Cost | None:
    if settings.worker_hour_price is None:
        return None
    return cost_of(now, scan_workers(connection, now, within_seconds=LIVE_SECONDS), settings)


def _until_it_ends(
    connection: Connection, scan_id: int, settings: Settings
) -> Iterator[StatusView]:
    """Yield a view every second until the scan ends.

    Verdicts are counted again after `COUNTING_SHARE` times the duration of the last count.
    """
    counted: Summary | None = None
    count_at = 0.0
    while True:
        begun = time.monotonic()
        view = _view(connection, scan_id, settings, counted if begun < count_at else None)
        if begun >= count_at:
            counted = view.summary
            count_at = begun + COUNTING_SHARE * (time.monotonic() - begun)
        elif _has_ended(view):
            view = _view(connection, scan_id, settings)
        yield view
        if _has_ended(view):
            return
        time.sleep(REFRESH_SECONDS)


def _watch(views: Iterator[StatusView], *, in_json: bool) -> None:
    if sys.stdout.isatty() and not in_json:
        from fakesweep import terminal  # noqa: PLC0415 - rich is loaded for terminals only

        terminal.show_refreshed(_view_as_page(view) for view in views)
        return
    before: tuple[object, ...] = ()
    for view in views:
        now = view.summary.progress
        counts = (now.state, identity(now), now.unchanged, *view.blockers)
        if counts == before:
            continue
        before = counts
        if in_json:
            write_json(_view_as_json(view))
        else:
            click.echo(_view_in_words(view))
        sys.stdout.flush()


def _view_in_words(view: StatusView) -> str:
    """Return a scan in one line: its counts, rate, time left, cost and blockers."""
    now = view.summary.progress
    words = [f"scan {now.scan_id} {now.state}: {identity(now)}"]
    if now.is_audit:
        words.append(listing(now))
    words.append(rates_in_words(now))
    if left := left_in_words(now):
        words.append(f"{left} left")
    if view.cost is not None and (cost := view.cost.said()):
        words.append(cost)
    words += (f"waiting: {blocker.said}" for blocker in view.blockers)
    return printable("; ".join(words))


def _view_as_page(view: StatusView) -> str:
    """Return a scan's page, with its blockers and the live workers until it has ended."""
    lines = [as_page(view.summary)]
    if view.cost is not None and (cost := view.cost.said()):
        lines.append(page_line("cost", cost))
    if not _has_ended(view):
        lines += (page_line("waiting", blocker.said) for blocker in view.blockers)
        if view.quarantined:
            what = "1 image runs" if view.quarantined == 1 else f"{view.quarantined} images run"
            lines.append(page_line("quarantine", f"{what} alone"))
        lines += _worker_lines(view.workers)
    return "\n".join(lines)


def _view_as_json(view: StatusView) -> dict[str, Any]:
    return as_json(view.summary) | {
        "cost": view.cost and asdict(view.cost),
        "waiting": [blocker.reason for blocker in view.blockers],
        "quarantined": view.quarantined,
        "unreadable_messages": view.unreadable,
        "workers": _as_json(view.workers),
    }


def _has_ended(view: StatusView) -> bool:
    return ScanState(view.summary.progress.state).is_last


def _as_json(workers: Sequence[WorkerReport]) -> list[dict[str, Any]]:
    return [asdict(worker) for worker in workers]


def _worker_lines(workers: Sequence[WorkerReport]) -> Iterator[str]:
    return (page_line("worker", worker_line(worker)) for worker in workers)


def _trouble_lines(found: Troubles) -> Iterator[str]:
    if found.batches:
        yield page_line("set aside", troubles_in_words(found.batches, found.reason))


def _unreadable_lines(messages: int) -> Iterator[str]:
    if messages:
        query = "SELECT * FROM unreadable_messages WHERE acknowledged_at IS NULL"
        what = "1 message was" if messages == 1 else f"{messages} messages were"
        said = (
            f'{what} put aside as unreadable; look: {program()} sql "{query}", '
            f"then: {program()} status --acknowledge"
        )
        yield page_line("unreadable", said)
