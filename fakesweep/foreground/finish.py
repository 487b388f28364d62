"""End of a foreground scan: its summary and exit status, or the command to go on with it."""

import sys
import time
from contextlib import ExitStack

import click
from sqlalchemy import Connection

from fakesweep.exits import Exit
from fakesweep.foreground.progress import shown_progress
from fakesweep.foreground.run import brought_to_end
from fakesweep.foreground.signals import told_to_stop
from fakesweep.ledger_access import connected
from fakesweep.output import write_json
from fakesweep.producer.resources import Producer
from fakesweep.schema.errors import ScanError
from fakesweep.schema.ledger.reports.progress import Progress, progress
from fakesweep.schema.ledger.reports.workers import WorkerCounts, counted, counted_since
from fakesweep.schema.telemetry.throughput import StageReport, report
from fakesweep.schema.words import ScanState
from fakesweep.summary import Summary, as_json, identity, read_summary, write_scan_end
from fakesweep.text import program

SETTLE_SECONDS = 1.5
"""Time for workers to report their last counts."""

POLL_SECONDS = 0.05


def conclude(
    producer: Producer,
    scan_id: int,
    *,
    with_worker: bool,
    in_json: bool,
    fail_on_failures: bool,
) -> Exit:
    """Run a scan to its end, write its summary, and return the exit status.

    Raises:
        ScanError: the scan cannot go on, or was paused or cancelled meanwhile.
    """
    summary: Summary | None = None
    last: Progress | None = None
    with producer.engine.connect() as connection:
        before = counted(connection)
    try:
        with (
            told_to_stop() as told,
            ExitStack() as bar,
            brought_to_end(
                producer,
                scan_id,
                told,
                bar.enter_context(shown_progress(scan_id)),
                with_worker=with_worker,
            ) as last,
        ):
            bar.close()  # the summary goes to the same terminal
            if last is not None and last.state == ScanState.FINISHED:
                summary = _say_end(producer, scan_id, before, in_json=in_json)
    except KeyboardInterrupt:
        last = None  # the second signal: wait for nothing more
    if summary is None:
        if last is not None:
            _refuse_halted(producer, last)
        return hint_at_resume(scan_id)
    refuse_empty(summary)
    return Exit.IMAGES_FAILED if fail_on_failures and summary.progress.failed else Exit.DONE


def leave_to_others(
    connection: Connection, scan_id: int, *, in_json: bool, on_cluster: bool
) -> Exit:
    """Write the progress of a scan that goes on without this process, and how to watch it."""
    summary = read_summary(connection, scan_id)
    if in_json:
        write_json(as_json(summary))
        refuse_empty(summary)
        return Exit.DONE
    refuse_empty(summary)
    click.echo(f"scan {scan_id} {summary.progress.state}: {identity(summary.progress)}")
    click.echo(f"watch it with: {program()} status {scan_id} --watch")
    if not on_cluster:
        click.echo(
            f"it goes on while both of these run: {program()} worker, {program()} producer; "
            f"or finish it with: {program()} resume {scan_id}"
        )
    return Exit.DONE


def refuse_empty(summary: Summary) -> None:
    """Refuse a scan in which `--include` left no image.

    Raises:
        ScanError: the scan took no image.
    """
    if summary.lacks_what_was_included:
        raise ScanError(
            f"scan {summary.progress.scan_id} took no image: nothing in its sources is left by "
            f"--include; patterns match whole paths and URIs, as '*/2024/*.jpg'"
        )


def _refuse_halted(producer: Producer, last: Progress) -> None:
    if last.state == ScanState.PAUSED:
        raise ScanError(
            f"scan {last.scan_id} is paused; `fakesweep resume {last.scan_id}` goes on with it"
        )
    if last.state == ScanState.CANCELLED:
        with connected(producer.settings.database_url or "", "command") as connection:
            now = progress(connection, last.scan_id)
        raise ScanError(f"scan {now.scan_id} was cancelled: {identity(now)}")


def _say_end(producer: Producer, scan_id: int, before: WorkerCounts, *, in_json: bool) -> Summary:
    with connected(producer.settings.database_url or "", "command") as connection:
        stages = _settled_stages(connection, scan_id, before)
        summary = read_summary(connection, scan_id)
        if in_json:
            write_json(as_json(summary, stages))
        else:
            write_scan_end(connection, summary, stages)
    sys.stdout.flush()
    return summary


def _settled_stages(
    connection: Connection, scan_id: int, before: WorkerCounts
) -> StageReport | None:
    """Return the workers' throughput since `before`, None if they reported nothing."""
    given_up_at = time.monotonic() + SETTLE_SECONDS
    while True:
        counts, is_settled = counted_since(connection, scan_id, before)
        connection.rollback()
        if is_settled or time.monotonic() > given_up_at:
            return None if counts is None else report(counts)
        time.sleep(POLL_SECONDS)


def hint_at_resume(scan_id: int) -> Exit:
    """Write the command that resumes a scan, and return the exit status of an interruption."""
    click.echo(f"scan {scan_id} goes on with: {program()} resume {scan_id}", err=True)
    return Exit.INTERRUPTED
