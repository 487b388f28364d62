"""How a scan that is waited for ends: its summary and its exit status, or how to go on with it."""

import sys
import time

import click
from sqlalchemy import Connection

from fakesweep.exits import Exit
from fakesweep.output import write_json
from fakesweep.reading import connected
from fakesweep.scanning import brought_to_end
from fakesweep.summary import Summary, as_json, read_summary, write_scan_end
from fakesweep.text import program
from producer.scans import Producer
from schema.reports import Counted, counted, counted_since
from schema.stages import StageReport, report

SETTLE_SECONDS = 1.5
"""How long workers get to count what they stored last."""

POLL_SECONDS = 0.05


def conclude(
    producer: Producer,
    scan_id: int,
    *,
    with_worker: bool,
    in_json: bool,
    fail_on_failures: bool,
) -> Exit:
    """Wait for a scan's end, say what came of it, and return the exit status.

    Raises:
        ScanError: the scan cannot go on.
    """
    summary: Summary | None = None
    with producer.engine.connect() as connection:
        before = counted(connection)
    try:
        with brought_to_end(producer, scan_id, with_worker=with_worker) as finished:
            if finished:
                summary = _say_end(producer, scan_id, before, in_json=in_json)
    except KeyboardInterrupt:
        pass  # the second one: nothing is waited for any more
    if summary is None:
        return hint_at_resume(scan_id)
    return Exit.IMAGES_FAILED if fail_on_failures and summary.progress.failed else Exit.DONE


def _say_end(producer: Producer, scan_id: int, before: Counted, *, in_json: bool) -> Summary:
    with connected(producer.settings.database_url or "", "command") as connection:
        stages = _settled_stages(connection, scan_id, before)
        summary = read_summary(connection, scan_id)
        if in_json:
            write_json(as_json(summary, stages))
        else:
            write_scan_end(connection, summary, stages)
    sys.stdout.flush()
    return summary


def _settled_stages(connection: Connection, scan_id: int, before: Counted) -> StageReport | None:
    """Say where the workers' time went since `before`, None where they told nothing."""
    given_up_at = time.monotonic() + SETTLE_SECONDS
    while True:
        counts, is_settled = counted_since(connection, scan_id, before)
        connection.rollback()
        if is_settled or time.monotonic() > given_up_at:
            return None if counts is None else report(counts)
        time.sleep(POLL_SECONDS)


def hint_at_resume(scan_id: int) -> Exit:
    """Say how an interrupted scan goes on, and return the exit status of an interruption."""
    click.echo(f"scan {scan_id} goes on with: {program()} resume {scan_id}", err=True)
    return Exit.INTERRUPTED
