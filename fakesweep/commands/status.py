"""`fakesweep status`: how far scans are."""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC

import click
from sqlalchemy import Connection

from fakesweep.output import write_json, write_table
from fakesweep.reading import reading
from fakesweep.summary import Summary, as_json, as_page, identity, read_summary
from schema.errors import ScanError
from schema.reports import recent_scans
from schema.settings import read_settings
from schema.words import ScanState

REFRESH_SECONDS = 1.0

COLUMNS = ("scan", "name", "state", "submitted", "classified", "reused", "failed", "pending",
           "models", "asked for")  # fmt: skip


@click.command()
@click.argument("scan", metavar="[SCAN]", type=int, required=False)
@click.option(
    "--json", "in_json", is_flag=True, help="Print JSON: an object, or one for each scan."
)
@click.option(
    "--watch", is_flag=True, help="Refresh until the scan, or else the newest, is finished."
)
def status(scan: int | None, in_json: bool, watch: bool) -> None:
    """Show how far a scan is, or every recent scan."""
    with reading(read_settings()) as connection:
        if watch:
            _watch(connection, _newest(connection) if scan is None else scan, in_json=in_json)
        elif scan is None:
            _list_scans(connection, in_json=in_json)
        elif in_json:
            write_json(as_json(read_summary(connection, scan)))
        else:
            click.echo(as_page(read_summary(connection, scan)))


def _list_scans(connection: Connection, *, in_json: bool) -> None:
    scans = recent_scans(connection)
    if in_json:
        write_json([asdict(scan) for scan in scans])
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


def _newest(connection: Connection) -> int:
    scans = recent_scans(connection, limit=1)
    if not scans:
        raise ScanError("there is no scan yet; `fakesweep scan` asks for one")
    return scans[0].scan_id


def _watch(connection: Connection, scan_id: int, *, in_json: bool) -> None:
    summaries = _until_finished(connection, scan_id)
    if sys.stdout.isatty() and not in_json:
        from fakesweep import terminal  # noqa: PLC0415 - rich is loaded for terminals only

        terminal.show_refreshed(as_page(summary) for summary in summaries)
        return
    said = ""
    for summary in summaries:
        now = summary.progress
        changed = f"scan {scan_id} {now.state}: {identity(now)}"
        if changed == said:
            continue
        said = changed
        if in_json:
            write_json(as_json(summary))
        else:
            click.echo(changed)
        sys.stdout.flush()


def _until_finished(connection: Connection, scan_id: int) -> Iterator[Summary]:
    while True:
        summary = read_summary(connection, scan_id)
        connection.rollback()
        yield summary
        if summary.progress.state == ScanState.FINISHED:
            return
        time.sleep(REFRESH_SECONDS)
