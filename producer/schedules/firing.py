"""Schedules at work: each time makes one scan, or leaves a row that says why it made none.

Whichever producer finds a schedule due answers for it, in one transaction: the scan, the row and
the next time are written together or not at all. The database's clock says what is due.
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
from fakesweep.producer.sources.members import gathered
from fakesweep.schema.errors import FakesweepError, ScheduleError
from fakesweep.schema.judging.catalogue import Catalogue
from fakesweep.schema.ledger.connection import first_line, may_pass
from fakesweep.schema.ledger.registry.policies import policy_id
from fakesweep.schema.ledger.scans.names import MOST_NAME_CHARACTERS, is_name
from fakesweep.schema.ledger.schedules import schedules as ledger
from fakesweep.schema.ledger.schedules.schedules import HeldSchedule, Schedule, ScheduleOutcome
from fakesweep.schema.settings import Settings

LOOK_SECONDS = 1.0
MOST_TIMES = 1_000
"""Times that one transaction answers for; of a schedule that missed more, the oldest go first."""


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What became of the newest time of a schedule that was due, and how many it missed before."""

    outcome: ScheduleOutcome
    missed: int = 0
    scan_id: int | None = None
    reason: str | None = None


def keep_schedules(producer: Producer, stop: threading.Event) -> None:
    """Answer for every schedule that is due, about once a second, until `stop` is set.

    A database that stops answering is waited for, with a line in the log now and then.
    """
    waiting = Backoff(stop)
    left_out: set[int] = set()
    while not stop.is_set():
        try:
            fire_due(producer, left_out)
        except SQLAlchemyError as error:
            waiting.wait_for_ledger(error)
            continue
        waiting.is_over()
        stop.wait(LOOK_SECONDS)


def fire_due(producer: Producer, left_out: set[int] | None = None) -> int:
    """Answer for every schedule that is due and that nobody else holds; count the scans made.

    Schedules whose times cannot be told here, as in a zone that this machine does not know, or that
    cannot be answered for, are put into `left_out` and stay due for another producer.
    """
    passed_over = set() if left_out is None else left_out
    fired = 0
    while True:
        held = None
        try:
            with producer.engine.begin() as connection:
                held = ledger.hold_due(connection, passed_over)
                if held is None:
                    return fired
                answer = _answered(connection, producer, held)
        except Exception as error:
            if held is None or may_pass(error):
                raise
            passed_over.add(held.schedule_id)
            _tell_left_out(held, error)
            continue
        if answer is not None:
            fired += answer.outcome == ScheduleOutcome.FIRED
            _tell(held, answer)


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
    """Record that a request is made by the clock; return when that is the first time.

    Local sources stay those of this host, whichever producer will fire.

    Raises:
        ScheduleError: the name is none or taken, or the times make no sense.
        SourceError: a source cannot be listed, or holds nothing; or the choices make no sense.
        CatalogueError: a model or the policy is not known.
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
    """Record a scan of a schedule at once, by hand; return it.

    Raises:
        ScheduleError: there is no such schedule, or its last scan is not finished.
        CatalogueError: a model or the policy is not known any more.
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
    """Let a paused schedule go on; return when it is due next, None where it was not paused.

    Raises:
        ScheduleError: there is no such schedule, or its zone is not known here.
    """
    held = ledger.hold(connection, name)
    if not held.is_paused:
        return None
    next_at = next_time(held.schedule.cron, zone_of(held.schedule.timezone), held.now)
    ledger.resume_schedule(connection, held, next_at)
    return next_at


def _answered(connection: Connection, producer: Producer, held: HeldSchedule) -> _Answer | None:
    """Answer for the times of a schedule up to now; None where the newest has its row already.

    The newest makes a scan, however late it is; those before it were missed.
    """
    schedule, zone = held.schedule, zone_of(held.schedule.timezone)
    times = times_until(schedule.cron, zone, held.next_at, held.now, MOST_TIMES)
    next_at = next_time(schedule.cron, zone, times[-1])
    ledger.move_on(connection, held.schedule_id, next_at)
    if next_at <= held.now:
        ledger.record_missed(connection, held.schedule_id, times)
        return _Answer(ScheduleOutcome.MISSED, len(times))
    *missed, due_at = times
    ledger.record_missed(connection, held.schedule_id, missed)
    if ledger.is_answered(connection, held.schedule_id, due_at):
        return None
    return _fired(connection, producer, held, due_at, len(missed))


def _fired(
    connection: Connection, producer: Producer, held: HeldSchedule, due_at: datetime, missed: int
) -> _Answer:
    """Make the scan of a time, or record why there is none."""
    unfinished = ledger.unfinished_scan(connection, held.schedule_id)
    if unfinished is not None:
        outcome, reason = ScheduleOutcome.SKIPPED, f"scan {unfinished} was not finished"
    else:
        try:
            with connection.begin_nested():
                scan_id = _record_scan(connection, producer, held.schedule)
                ledger.record_fired(connection, held.schedule_id, due_at, scan_id)
            return _Answer(ScheduleOutcome.FIRED, missed, scan_id)
        except FakesweepError as error:
            outcome, reason = ScheduleOutcome.REFUSED, str(error)
        except SQLAlchemyError as error:
            if may_pass(error):
                raise
            outcome, reason = ScheduleOutcome.REFUSED, first_line(error)
    ledger.record_unfired(connection, held.schedule_id, due_at, outcome, reason)
    return _Answer(outcome, missed, reason=reason)


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
    resolved = gathered([resolve_source(text) for text in request.sources])
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


def _tell_left_out(held: HeldSchedule, error: Exception) -> None:
    name = held.schedule.name
    if isinstance(error, ScheduleError | DBAPIError):
        reason = first_line(error) if isinstance(error, DBAPIError) else str(error)
        log.error("schedule_left_out", schedule=name, reason=reason)
    else:
        log.error("schedule_left_out", schedule=name, reason=repr(error), exc_info=error)


def _tell(held: HeldSchedule, answer: _Answer) -> None:
    facts = {"schedule": held.schedule.name, "missed": answer.missed}
    match answer.outcome:
        case ScheduleOutcome.FIRED:
            log.info("schedule_fired", scan_id=answer.scan_id, **facts)
        case ScheduleOutcome.SKIPPED:
            log.info("schedule_skipped", reason=answer.reason, **facts)
        case ScheduleOutcome.REFUSED:
            log.error("schedule_refused", reason=answer.reason, **facts)
        case ScheduleOutcome.MISSED:
            log.warning("schedule_missed", **facts)
