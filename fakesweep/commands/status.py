"""`fakesweep status`: how far scans are, and what the workers are at."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC
from typing import Any

import click
from sqlalchemy import Connection

from fakesweep.output import write_json, write_table
from fakesweep.reading import reading
from fakesweep.stages import worker_line
from fakesweep.summary import Summary, as_json, as_page, identity, read_summary
from fakesweep.text import printable
from schema.errors import ScanError
from schema.registry import LIVE_SECONDS
from schema.reports import WorkerReport, live_workers, recent_scans
from schema.settings import read_settings
from schema.words import ScanState

REFRESH_SECONDS = 1.0

COLUMNS = ("scan", "name", "state", "submitted", "classified", "reused", "failed", "pending",
           "models", "asked for")  # fmt: skip


@click.command()
@click.argument("scan", metavar="[SCAN]", type=int, required=False)
@click.option(
    "--json", "in_json", is_flag=True, help="Print one JSON object instead of a table or page."
)
@click.option(
    "--watch", is_flag=True, help="Refresh until the scan, or else the newest, is finished."
)
def status(scan: int | None, in_json: bool, watch: bool) -> None:
    """Show how far a scan is, or every recent scan.

    Below stands what each live worker does: how busy its stages are, how fast it is, and its wall,
    the stage that keeps it from being faster.
    """
    with reading(read_settings()) as connection:
        if watch:
            _watch(connection, _newest(connection) if scan is None else scan, in_json=in_json)
        elif scan is None:
            _list_scans(connection, in_json=in_json)
        else:
            summary = read_summary(connection, scan)
            workers = live_workers(connection, LIVE_SECONDS)
            if in_json:
                write_json(_scan_as_json(summary, workers))
            else:
                click.echo(_scan_as_page(summary, workers))


def _list_scans(connection: Connection, *, in_json: bool) -> None:
    scans = recent_scans(connection)
    workers = live_workers(connection, LIVE_SECONDS)
    if in_json:
        write_json({"scans": [asdict(scan) for scan in scans], "workers": _as_json(workers)})
        return
    write_table(
        COLUMNS,
        (
            (scan.scan_id, scan.name, scan.state, scan.submitted, scan.classified, scan.reused,
             scan.failed, scan.pending, " ".join(scan.models),
             f"{scan.created_at.astimezone(UTC):%Y-%m-%d %H:%M}")
            for scan in scans
        ),
    )  # fmt: skip
    if workers:
        click.echo()
    for line in _worker_lines(workers):
        click.echo(line)


def _newest(connection: Connection) -> int:
    scans = recent_scans(connection, limit=1)
    if not scans:
        raise ScanError("there is no scan yet; `fakesweep scan` asks for one")
    return scans[0].scan_id


def _watch(connection: Connection, scan_id: int, *, in_json: bool) -> None:
    looks = _until_finished(connection, scan_id)
    if sys.stdout.isatty() and not in_json:
        from fakesweep import terminal  # noqa: PLC0415 - rich is loaded for terminals only

        terminal.show_refreshed(_scan_as_page(summary, workers) for summary, workers in looks)
        return
    said = ""
    for summary, workers in looks:
        now = summary.progress
        changed = f"scan {scan_id} {now.state}: {identity(now)}"
        if changed == said:
            continue
        said = changed
        if in_json:
            write_json(_scan_as_json(summary, workers))
        else:
            click.echo(changed)
        sys.stdout.flush()


def _until_finished(
    connection: Connection, scan_id: int
) -> Iterator[tuple[Summary, Sequence[WorkerReport]]]:
    while True:
        summary = read_summary(connection, scan_id)
        workers = live_workers(connection, LIVE_SECONDS)
        connection.rollback()
        yield summary, workers
        if summary.progress.state == ScanState.FINISHED:
            return
        time.sleep(REFRESH_SECONDS)


def _scan_as_page(summary: Summary, workers: Sequence[WorkerReport]) -> str:
    """Return a scan's page; while it is not finished, with the workers it may get."""
    is_finished = summary.progress.state == ScanState.FINISHED
    return "\n".join([as_page(summary), *([] if is_finished else _worker_lines(workers))])


def _scan_as_json(summary: Summary, workers: Sequence[WorkerReport]) -> dict[str, Any]:
    return as_json(summary) | {"workers": _as_json(workers)}


def _as_json(workers: Sequence[WorkerReport]) -> list[dict[str, Any]]:
    return [asdict(worker) for worker in workers]


def _worker_lines(workers: Sequence[WorkerReport]) -> Iterator[str]:
    return (f"{'worker':<10} {printable(worker_line(worker))}" for worker in workers)
