"""Firing of schedules: each due time starts a scan, or records why it did not.

A producer fires a schedule in one transaction: scan, outcome and next time are written together.
The database's clock decides which schedules are due.
"""

import threading
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from fakesweep.producer.backoff import Backoff
from fakesweep.producer.listing.filter import check_selection
from fakesweep.producer.resources import Producer
from fakesweep.producer.scans import ScanRequest, record_request
from fakesweep.producer.schedules.cron import check_cron, next_time, times_until, zone_of
from fakesweep.producer.sources import ResolvedSource, check_named, resolve_source
from fakesweep.producer.sources.manifest.listing import STDIN
from fakesweep.producer.sources.members import grouped
from fakesweep.schema.errors import FakesweepError, ScheduleError
from fakesweep.schema.judging.catalogue import Catalogue
from fakesweep.schema.ledger.connection import first_line, may_pass
from fakesweep.schema.ledger.registry.policies import policy_id
from fakesweep.schema.ledger.scans.names import MOST_NAME_CHARACTERS, is_name
from fakesweep.schema.ledger.schedules import schedules as ledger
from fakesweep.schema.ledger.schedules.schedules import HeldSchedule, Schedule, ScheduleOutcome
from fakesweep.schema.settings import Settings

POLL_SECONDS = 1.0
MOST_TIMES = 1_000
"""Times that one transaction records, oldest first."""


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Firing:
    """Outcome of a schedule's newest due time, and the number of times missed before it."""

    outcome: ScheduleOutcome
    missed: int = 0
    scan_id: int | None = None
    reason: str | None = None


def keep_schedules(producer: Producer, stop: threading.Event) -> None:
    """Fire due schedules once a second until `stop` is set; an outage is waited out."""
    backoff = Backoff(stop)
    left_out: set[int] = set()
    while not stop.is_set():
        try:
            fire_due(producer, left_out)
        except SQLAlchemyError as error:
            backoff.wait_for_ledger(error)
            continue
        backoff.is_over()
        stop.wait(POLL_SECONDS)


def fire_due(producer: Producer, left_out: set[int] | None = None) -> int:
    """Fire each due schedule that no other producer holds; return the number of scans started.

    A schedule that fails here, as with a time zone unknown to this machine, is added to `left_out`
    and stays due for another producer.
    """
    skipped = set() if left_out is None else left_out
    fired = 0
    while True:
        held = None
        try:
            with producer.engine.begin() as connection:
                held = ledger.hold_due(connection, skipped)
                if held is None:
                    return fired
                firing = _fire(connection, producer, held)
        except Exception as error:
            if held is None or may_pass(error):
                raise
            skipped.add(held.schedule_id)
            _log_left_out(held, error)
            continue
        if firing is not None:
            fired += firing.outcome == ScheduleOutcome.FIRED
            _log_firing(held, firing)


def add_schedule(
    connection: Connection,
    settings: Settings,
    catalogue: Catalogue,
    request: ScanRequest,
    *,
    cron: str,
    timezone: str,
    check_sources: bool = True,
) -> datetime:
    """Record a schedule for a request; return its first time, in UTC.

    Local sources are those of this host, on any producer that fires the schedule.

    Raises:
        ScheduleError: the name is invalid or taken, or the cron expression or zone is refused.
        SourceError: a source cannot be listed or is empty, or the selection is invalid.
        CatalogueError: a model or the policy is unknown.
    """
    zone = zone_of(timezone)
    check_cron(cron)
    schedule = Schedule(
        name=_checked_name(request.name or ""),
        cron=" ".join(cron.split()),
        timezone=timezone,
        sources=_resolved(request, settings, check=check_sources),
        model_keys=tuple(
            dict.fromkeys(catalogue.model(reference).key for reference in request.models)
        ),
        policy=request.policy,
        lane=request.lane,
        selection=request.selection,
        is_full=not request.is_audit,
    )
    next_at = next_time(cron, zone, ledger.ledger_now(connection))
    policy_id(connection, request.policy, catalogue.policies.get(request.policy))
    ledger.add_schedule(connection, schedule, next_at)
    return next_at


def run_now(connection: Connection, producer: Producer, name: str) -> int:
    """Start a scan of a schedule by hand; return the scan's id.

    Raises:
        ScheduleError: the schedule does not exist, or its last scan is not finished.
        CatalogueError: a model or the policy is unknown by now.
    """
    held = ledger.hold(connection, name)
    unfinished = ledger.unfinished_scan(connection, held.schedule_id)
    if unfinished is not None:
        raise ScheduleError(
            f"scan {unfinished} of schedule {name!r} is not finished; wait for its end, or "
            f"`fakesweep cancel {unfinished}`"
        )
    scan_id = _record_scan(connection, producer, held.schedule)
    ledger.record_fired(connection, held.schedule_id, held.now, scan_id, by_hand=True)
    return scan_id


def resume(connection: Connection, name: str) -> datetime | None:
    """Resume a paused schedule; return its next time, None where it was not paused.

    Raises:
        ScheduleError: the schedule does not exist, or its zone is unknown here.
    """
    held = ledger.hold(connection, name)
    if not held.is_paused:
        return None
    next_at = next_time(held.schedule.cron, zone_of(held.schedule.timezone), held.now)
    ledger.resume_schedule(connection, held, next_at)
    return next_at


def _fire(connection: Connection, producer: Producer, held: HeldSchedule) -> _Firing | None:
    """Fire a schedule's newest due time and record older ones as missed.

    Returns None where the newest time has its outcome already.
    """
    schedule, zone = held.schedule, zone_of(held.schedule.timezone)
    times = times_until(schedule.cron, zone, held.next_at, held.now, MOST_TIMES)
    next_at = next_time(schedule.cron, zone, times[-1])
    ledger.move_on(connection, held.schedule_id, next_at)
    if next_at <= held.now:
        ledger.record_missed(connection, held.schedule_id, times)
        return _Firing(ScheduleOutcome.MISSED, len(times))
    *missed, due_at = times
    ledger.record_missed(connection, held.schedule_id, missed)
    if ledger.is_answered(connection, held.schedule_id, due_at):
        return None
    return _start_scan(connection, producer, held, due_at, len(missed))


def _start_scan(
    connection: Connection, producer: Producer, held: HeldSchedule, due_at: datetime, missed: int
) -> _Firing:
    """Start the scan of a due time, or record why there is none."""
    unfinished = ledger.unfinished_scan(connection, held.schedule_id)
    if unfinished is not None:
        outcome, reason = ScheduleOutcome.SKIPPED, f"scan {unfinished} was not finished"
    else:
        try:
            with connection.begin_nested():
                scan_id = _record_scan(connection, producer, held.schedule)
                ledger.record_fired(connection, held.schedule_id, due_at, scan_id)
            return _Firing(ScheduleOutcome.FIRED, missed, scan_id)
        except FakesweepError as error:
            outcome, reason = ScheduleOutcome.REFUSED, str(error)
        except SQLAlchemyError as error:
            if may_pass(error):
                raise
            outcome, reason = ScheduleOutcome.REFUSED, first_line(error)
    ledger.record_unfired(connection, held.schedule_id, due_at, outcome, reason)
    return _Firing(outcome, missed, reason=reason)


def _record_scan(connection: Connection, producer: Producer, schedule: Schedule) -> int:
    request = ScanRequest(
        sources=tuple(source.source for source in schedule.sources),
        models=schedule.model_keys,
        lane=schedule.lane,
        policy=schedule.policy,
        name=schedule.name,
        is_audit=not schedule.is_full,
        selection=schedule.selection,
    )
    return record_request(connection, producer, request, schedule.sources)


def _resolved(
    request: ScanRequest, settings: Settings, *, check: bool
) -> tuple[ResolvedSource, ...]:
    check_selection(request.selection)
    if STDIN in request.sources:
        raise ScheduleError(
            "standard input cannot be read by the clock; schedule a folder, a prefix or a manifest"
        )
    resolved = grouped([resolve_source(text) for text in request.sources])
    if check:
        for source in resolved:
            check_named(source, settings, request.selection)
    return tuple(resolved)


def _checked_name(name: str) -> str:
    if not is_name(name):
        raise ScheduleError(
            f"{name[:MOST_NAME_CHARACTERS]!r} is no name of a schedule; write 1 to "
            f"{MOST_NAME_CHARACTERS} characters that can be seen"
        )
    return name


def _log_left_out(held: HeldSchedule, error: Exception) -> None:
    name = held.schedule.name
    if isinstance(error, ScheduleError | DBAPIError):
        reason = first_line(error) if isinstance(error, DBAPIError) else str(error)
        log.error("schedule_left_out", schedule=name, reason=reason)
    else:
        log.error("schedule_left_out", schedule=name, reason=repr(error), exc_info=error)


def _log_firing(held: HeldSchedule, firing: _Firing) -> None:
    facts = {"schedule": held.schedule.name, "missed": firing.missed}
    match firing.outcome:
        case ScheduleOutcome.FIRED:
            log.info("schedule_fired", scan_id=firing.scan_id, **facts)
        case ScheduleOutcome.SKIPPED:
            log.info("schedule_skipped", reason=firing.reason, **facts)
        case ScheduleOutcome.REFUSED:
            log.error("schedule_refused", reason=firing.reason, **facts)
        case ScheduleOutcome.MISSED:
            log.warning("schedule_missed", **facts)
