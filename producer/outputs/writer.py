"""Output writer: part files while a scan runs, and a summary at its end."""

import socket
import threading
import time
from enum import Enum, auto

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from fakesweep.producer.backoff import Backoff
from fakesweep.producer.outputs.destinations import Destination, open_place
from fakesweep.producer.outputs.draft import OutputPlace
from fakesweep.producer.outputs.records import SUMMARY_FILE, lines_of, part_file, summary_of
from fakesweep.producer.resources import Producer
from fakesweep.producer.watchdog import progressed
from fakesweep.schema.errors import OutputError
from fakesweep.schema.ledger.connection import first_line, may_pass
from fakesweep.schema.ledger.outputs.parts import (
    Standing,
    end_output,
    lock_output,
    make_part,
    output_of,
    outputs_to_write,
    part_rows,
    record_trouble,
    record_written,
    reopen_outputs,
    standing,
    unlock_output,
    unwritten_part,
)
from fakesweep.schema.ledger.outputs.summary import read_output_summary
from fakesweep.schema.net.storage import one_line

PART_LINES = 10_000
PART_SECONDS = 30.0
"""Limits that cut a part: the number of waiting lines, and the age of the oldest."""

PAUSE_SECONDS = 1.0
REOPEN_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 60.0
"""Limit of the growing pause before a failed output is retried."""

FINISH_ATTEMPTS = 5

log = structlog.get_logger(__name__)


class _Elsewhere(OutputError):  # noqa: N818 - says what is wrong
    """The output belongs to another machine."""


class Pass(Enum):
    """Result of one pass over an output."""

    COMPLETE = auto()
    UP_TO_DATE = auto()
    HELD_BY_ANOTHER = auto()


def write_outputs(producer: Producer, stop: threading.Event, only: int | None = None) -> None:
    """Write the outputs of this machine until `stop` is set; `only` limits them to one scan.

    A failed output is logged and retried later; the others go on.

    Raises:
        SQLAlchemyError: the ledger refuses permanently.
    """
    backoff, next_reopen = Backoff(stop), 0.0
    while not stop.is_set():
        try:
            if time.monotonic() >= next_reopen:
                _reopen(producer, only)
                next_reopen = time.monotonic() + REOPEN_SECONDS
            with producer.engine.connect() as connection:
                scans = outputs_to_write(connection, socket.gethostname())
            for scan_id in scans:
                if only in (None, scan_id) and not stop.is_set():
                    _write_or_log(producer, scan_id, stop)
        except SQLAlchemyError as error:
            backoff.wait_for_ledger(error)
            continue
        backoff.is_over()
        stop.wait(PAUSE_SECONDS)


def finish_output(producer: Producer, scan_id: int, stop: threading.Event | None = None) -> bool:
    """Write the rest of a scan's output; return whether it is complete.

    The output is incomplete if the scan has not ended or `stop` was set; a missing output counts as
    complete. While another process writes it, this one waits.

    Raises:
        OutputError: writing failed repeatedly, or another machine has to do it.
        SQLAlchemyError: the ledger refuses permanently.
    """
    stop = stop or threading.Event()
    backoff, attempts = Backoff(stop), 0
    while True:
        try:
            is_complete = _advance(producer, scan_id, stop)
            if is_complete is not None:
                backoff.is_over()
                return is_complete
        except _Elsewhere:
            raise
        except OutputError as error:
            attempts += 1
            if attempts == FINISH_ATTEMPTS:
                raise OutputError(
                    f"{error}; every verdict of scan {scan_id} is stored, and "
                    f"`fakesweep resume {scan_id}` writes its output on"
                ) from error
            backoff.wait("output", str(error))
        except SQLAlchemyError as error:
            if stop.is_set():
                return False
            backoff.wait_for_ledger(error)


def _advance(producer: Producer, scan_id: int, stop: threading.Event) -> bool | None:
    """Write due parts; return whether the output is complete, None while another process writes."""
    if not _is_left_here(producer, scan_id):
        return True
    if stop.is_set():
        return False
    match write_output(producer, scan_id, stop):
        case Pass.COMPLETE:
            return True
        case Pass.UP_TO_DATE:
            return False
        case Pass.HELD_BY_ANOTHER:
            stop.wait(PAUSE_SECONDS / 5)
            return None


def write_output(producer: Producer, scan_id: int, stop: threading.Event) -> Pass:
    """Write the due parts of a scan's output, and its summary at the end.

    Raises:
        OutputError: writing fails; the ledger records the reason and the time of the retry.
    """
    with producer.engine.connect() as connection:
        if not lock_output(connection, scan_id):
            return Pass.HELD_BY_ANOTHER
        connection.commit()
        try:
            return _write(producer, connection, scan_id, stop)
        except OutputError as error:
            connection.rollback()
            record_trouble(connection, scan_id, str(error), LONGEST_PAUSE_SECONDS)
            connection.commit()
            raise
        finally:
            connection.rollback()
            unlock_output(connection, scan_id)
            connection.commit()


def _write(producer: Producer, connection: Connection, scan_id: int, stop: threading.Event) -> Pass:
    now, part = _next_part(connection, scan_id)
    if part is None and not now.has_ended:
        return Pass.UP_TO_DATE
    with open_place(Destination(now.destination, now.hostname), producer.settings) as place:
        while part is not None:
            _write_part(connection, place, scan_id, part)
            if stop.is_set():
                return Pass.UP_TO_DATE
            now, part = _next_part(connection, scan_id)
        return _write_summary(connection, place, scan_id) if now.has_ended else Pass.UP_TO_DATE


def _next_part(connection: Connection, scan_id: int) -> tuple[Standing, int | None]:
    """Return the output's standing and its next part: an unwritten one, or a new one if due."""
    now = standing(connection, scan_id)
    part = unwritten_part(connection, scan_id)
    if part is None:
        part = make_part(connection, now, scan_id, part_lines=PART_LINES, part_seconds=PART_SECONDS)
    connection.commit()
    return now, part


def _write_part(connection: Connection, place: OutputPlace, scan_id: int, part: int) -> None:
    """Write a part; the session that holds the lock records it."""
    file = part_file(part)
    with place.draft(file) as draft:
        for line in lines_of(part_rows(connection, scan_id, part)):
            draft.add(line)
        connection.commit()
        place.keep(draft, file)
    record_written(
        connection, scan_id, part,
        lines=draft.lines, size_bytes=draft.size_bytes, sha256=draft.sha256,
    )  # fmt: skip
    connection.commit()
    progressed()
    log.info("output_part_written", scan_id=scan_id, part=part, lines=draft.lines)


def _write_summary(connection: Connection, place: OutputPlace, scan_id: int) -> Pass:
    totals = read_output_summary(connection, scan_id)
    connection.commit()
    if totals is None:
        return Pass.UP_TO_DATE
    with place.draft(SUMMARY_FILE) as draft:
        draft.add(summary_of(totals))
        place.keep(draft, SUMMARY_FILE)
    place.tidy()
    end_output(connection, scan_id, totals.standing.last_batch_id)
    connection.commit()
    log.info("output_complete", scan_id=scan_id, destination=totals.standing.destination)
    return Pass.COMPLETE


def _write_or_log(producer: Producer, scan_id: int, stop: threading.Event) -> None:
    try:
        write_output(producer, scan_id, stop)
    except OutputError as error:
        log.error("output_cannot_be_written", scan_id=scan_id, reason=str(error))
    except Exception as error:
        if may_pass(error):
            raise
        if isinstance(error, DBAPIError):
            reason = first_line(error)
            log.error("output_cannot_be_written", scan_id=scan_id, reason=reason)
        else:
            reason = one_line(f"it cannot be made: {error!r}")
            log.exception("output_cannot_be_written", scan_id=scan_id, reason=reason)
        with producer.engine.begin() as connection:
            record_trouble(connection, scan_id, reason, LONGEST_PAUSE_SECONDS)


def _reopen(producer: Producer, scan_id: int | None) -> None:
    with producer.engine.begin() as connection:
        reopen_outputs(connection, scan_id)


def _is_left_here(producer: Producer, scan_id: int) -> bool:
    """Return whether a scan's output is incomplete.

    Raises:
        OutputError: the output belongs to another machine.
    """
    _reopen(producer, scan_id)
    with producer.engine.connect() as connection:
        report = output_of(connection, scan_id)
    if report is None or report.ended_at is not None:
        return False
    if report.hostname not in (None, socket.gethostname()):
        raise _Elsewhere(
            f"the output of scan {scan_id} goes to {report.destination}, which only "
            f"{report.hostname} can write; run `fakesweep resume {scan_id}` or a producer there"
        )
    return True
