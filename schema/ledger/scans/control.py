"""Control of a scan: pause, resume, cancel, and retry of its failures."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, text

from fakesweep.schema.errors import ScanError
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.words import Lane, ScanState

RETRYABLE = frozenset(FailureCode) - {FailureCode.INVALID_URI}
"""Codes whose failures a retry may change; an invalid URI stays invalid."""

# Recording a batch of the scan and this lock exclude each other.
_LOCK = text("""
    SELECT paused_at IS NOT NULL AS is_paused, cancelled_at IS NOT NULL AS is_cancelled
    FROM ledger.scans WHERE scan_id = :scan_id FOR NO KEY UPDATE
""")

_PAUSE = text("UPDATE ledger.scans SET paused_at = now() WHERE scan_id = :scan_id")
_UNPAUSE = text("UPDATE ledger.scans SET paused_at = NULL WHERE scan_id = :scan_id")
_CANCEL = text("UPDATE ledger.scans SET cancelled_at = now() WHERE scan_id = :scan_id")

_HOLD = text("""
    UPDATE ledger.batches SET state = 'held'
    WHERE scan_id = :scan_id AND state IN ('recorded', 'published', 'set_aside')
""")

_LET_GO = text("""
    UPDATE ledger.batches SET state = 'recorded' WHERE scan_id = :scan_id AND state = 'held'
""")

_NOW = text("SELECT now()")

_RETRY = text("""
    SELECT ledger.retry_failures(
        :scan_id, CAST(:codes AS ledger.failure_code[]), CAST(:lane AS ledger.lane), :at_most,
        :asked_at
    )
""")


def pause_scan(connection: Connection, scan_id: int) -> bool:
    """Pause a scan: hold its unclaimed batches and its listing; return False where it was paused.

    Batches in work are finished and stored.

    Raises:
        ScanError: there is no such scan, or nothing of it is left to pause.
    """
    state = _locked(connection, scan_id)
    _refuse_cancelled(scan_id, state == ScanState.CANCELLED, "paused")
    _refuse_finished(scan_id, state, "pause")
    if state == ScanState.PAUSED:
        return False
    connection.execute(_PAUSE, {"scan_id": scan_id})
    connection.execute(_HOLD, {"scan_id": scan_id})
    return True


def resume_scan(connection: Connection, scan_id: int) -> bool:
    """Resume a paused scan; return False, with nothing changed, where it was not paused.

    Raises:
        ScanError: there is no such scan, or it was cancelled.
    """
    state = _locked(connection, scan_id)
    _refuse_cancelled(scan_id, state == ScanState.CANCELLED, "resumed")
    if state != ScanState.PAUSED:
        return False
    connection.execute(_UNPAUSE, {"scan_id": scan_id})
    connection.execute(_LET_GO, {"scan_id": scan_id})
    return True


def cancel_scan(connection: Connection, scan_id: int) -> bool:
    """Cancel a scan: hold its unclaimed batches for good; return False where it was cancelled.

    Batches in work are finished and stored; the other images stay pending.

    Raises:
        ScanError: there is no such scan, or nothing of it is left to cancel.
    """
    state = _locked(connection, scan_id)
    _refuse_finished(scan_id, state, "cancel")
    if state == ScanState.CANCELLED:
        return False
    connection.execute(_CANCEL, {"scan_id": scan_id})
    connection.execute(_HOLD, {"scan_id": scan_id})
    return True


def begin_retry(connection: Connection, scan_id: int) -> datetime:
    """Return the start of a retry, by the database's clock; only earlier failures are retried.

    Raises:
        ScanError: there is no such scan, or it is paused or cancelled.
    """
    state = _locked(connection, scan_id)
    _refuse_halted(
        scan_id,
        is_paused=state == ScanState.PAUSED,
        is_cancelled=state == ScanState.CANCELLED,
    )
    if state == ScanState.FINISHED:
        connection.execute(_UNPAUSE, {"scan_id": scan_id})
    moment: datetime = connection.execute(_NOW).scalar_one()
    return moment


def retry_failures(
    connection: Connection,
    scan_id: int,
    codes: Collection[FailureCode],
    at_most: int,
    asked_at: datetime,
) -> int:
    """Move failures with these codes into a new batch, and return its number of images.

    It takes up to `at_most` images that failed before `asked_at`, so a new failure is not retried
    again. Images that killed workers go into quarantine, each in a batch of its own. The caller
    runs each call in a transaction of its own: an interruption leaves every image in one batch or
    the other.

    Raises:
        ScanError: the scan was paused or cancelled meanwhile.
    """
    scan = connection.execute(_LOCK, {"scan_id": scan_id}).one()
    _refuse_halted(scan_id, is_paused=scan.is_paused, is_cancelled=scan.is_cancelled)
    killers = {FailureCode.KILLED_WORKER} & set(codes)
    for chosen, lane, most in (
        (set(codes) - killers, None, at_most),
        (killers, Lane.QUARANTINE, 1),
    ):
        moved: int = connection.execute(
            _RETRY,
            {
                "scan_id": scan_id,
                "codes": [code.value for code in chosen],
                "lane": lane and lane.value,
                "at_most": most,
                "asked_at": asked_at,
            },
        ).scalar_one()
        if moved:
            return moved
    return 0


def _locked(connection: Connection, scan_id: int) -> ScanState:
    """Lock a scan's row until the transaction ends, and return its state."""
    connection.execute(_LOCK, {"scan_id": scan_id})
    return ScanState(progress(connection, scan_id).state)


def _refuse_halted(scan_id: int, *, is_paused: bool, is_cancelled: bool) -> None:
    _refuse_cancelled(scan_id, is_cancelled, "retried")
    if is_paused:
        raise ScanError(
            f"scan {scan_id} is paused, and its failures are not run again before "
            f"`fakesweep resume {scan_id}`"
        )


def _refuse_cancelled(scan_id: int, is_cancelled: bool, wanted: str) -> None:
    if is_cancelled:
        raise ScanError(
            f"scan {scan_id} was cancelled and cannot be {wanted}; scan its sources again"
        )


def _refuse_finished(scan_id: int, state: ScanState, wanted: str) -> None:
    if state == ScanState.FINISHED:
        raise ScanError(f"scan {scan_id} is finished; there is nothing left to {wanted}")
