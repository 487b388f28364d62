"""`fakesweep retry`: the failed images of a scan, queued again."""

from collections.abc import Collection

import click
from sqlalchemy import Connection

from fakesweep.exits import Exit
from fakesweep.foreground.finish import conclude, leave_to_others
from fakesweep.ledger_access import connected
from fakesweep.logging_setup import log_troubles
from fakesweep.producer.resources import open_producer
from fakesweep.schema.errors import ScanError
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.reports.results import failure_counts
from fakesweep.schema.ledger.scans.control import RETRYABLE, begin_retry, retry_failures
from fakesweep.schema.ledger.scans.names import find_scan
from fakesweep.schema.settings import read_settings
from fakesweep.stack.keeping import stack_to_go_on


def retry(
    *, scan: str, codes: tuple[str, ...], detach: bool, in_json: bool, fail_on_failures: bool
) -> Exit:
    """Judge the failed images of a scan again."""
    chosen = frozenset(map(FailureCode, codes)) or RETRYABLE
    if not chosen <= RETRYABLE:
        raise ScanError(
            f"images that failed as {FailureCode.INVALID_URI} cannot be run again: their text "
            f"names no image; correct the source and scan it again"
        )
    settings = read_settings()
    log_troubles(settings)
    with_worker = not settings.names_cluster
    catalogue = read_catalogue(settings.catalogue)
    with stack_to_go_on(settings, f"scan {scan}", detach=detach) as settings:
        with connected(settings.database_url or "", "command") as connection:
            scan_id = find_scan(connection, scan)
            moved = _move(connection, scan_id, chosen, settings.batch_images)
            failures = {} if codes else failure_counts(connection, scan_id)
            click.echo(_said(scan_id, moved, failures.get(FailureCode.INVALID_URI, 0)), err=True)
            if detach:
                connection.rollback()
                return leave_to_others(
                    connection, scan_id, in_json=in_json, on_cluster=not with_worker
                )
        with open_producer(settings, catalogue) as producer:
            return conclude(
                producer,
                scan_id,
                with_worker=with_worker,
                in_json=in_json,
                fail_on_failures=fail_on_failures,
            )


def _move(
    connection: Connection, scan_id: int, codes: Collection[FailureCode], batch_images: int
) -> int:
    """Move failures into new batches, each in a transaction of its own; return how many."""
    asked_at = begin_retry(connection, scan_id)
    connection.commit()
    moved = 0
    while added := retry_failures(connection, scan_id, codes, batch_images, asked_at):
        connection.commit()
        moved += added
    connection.commit()
    return moved


def _said(scan_id: int, moved: int, left_out: int) -> str:
    said = f"scan {scan_id}: {moved} failures run again"
    if left_out:
        said += (
            f"; {left_out} with the code {FailureCode.INVALID_URI} cannot: correct the source "
            f"and scan it again"
        )
    return said
