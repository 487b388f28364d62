"""How a scan that is waited for ends: its summary and its exit status, or how to go on with it."""

import sys

import click

from fakesweep.exits import Exit
from fakesweep.output import write_json
from fakesweep.reading import connected
from fakesweep.scanning import brought_to_end
from fakesweep.summary import Summary, as_json, read_summary, write_scan_end
from fakesweep.text import program
from producer.scans import Producer


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
    try:
        with brought_to_end(producer, scan_id, with_worker=with_worker) as finished:
            if finished:
                summary = _say_end(producer, scan_id, in_json=in_json)
    except KeyboardInterrupt:
        pass  # the second one: nothing is waited for any more
    if summary is None:
        return hint_at_resume(scan_id)
    return Exit.IMAGES_FAILED if fail_on_failures and summary.progress.failed else Exit.DONE


def _say_end(producer: Producer, scan_id: int, *, in_json: bool) -> Summary:
    with connected(producer.settings.database_url or "", "command") as connection:
        summary = read_summary(connection, scan_id)
        if in_json:
            write_json(as_json(summary))
        else:
            write_scan_end(connection, summary)
    sys.stdout.flush()
    return summary


def hint_at_resume(scan_id: int) -> Exit:
    """Say how an interrupted scan goes on, and return the exit status of an interruption."""
    click.echo(f"scan {scan_id} goes on with: {program()} resume {scan_id}", err=True)
    return Exit.INTERRUPTED
