"""Schedules: statements that record them and the outcome of each run."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, text

from fakesweep.schema.errors import ScheduleError
from fakesweep.schema.ledger.scans.scans import NamedSource
from fakesweep.schema.reasons import reason as short
from fakesweep.schema.reasons import storable
from fakesweep.schema.selection import Selection, selection_of
from fakesweep.schema.words import Lane

_NOW = text("SELECT now()")

_ADD = text("""
    INSERT INTO ledger.schedules
        (name, cron, timezone, model_keys, policy, lane, selection, is_full, next_at)
    VALUES (:name, :cron, :timezone, :model_keys, :policy, CAST(:lane AS ledger.lane),
            CAST(:selection AS jsonb), :is_full, :next_at)
    ON CONFLICT (name) WHERE removed_at IS NULL DO NOTHING RETURNING schedule_id
""")

_ADD_SOURCE = text("""
    INSERT INTO ledger.schedule_sources (schedule_id, position, source, hostname, members)
    VALUES (:schedule_id, :position, :source, :hostname, :members)
""")

_SOURCES = text("""
    SELECT source, hostname, members FROM ledger.schedule_sources
    WHERE schedule_id = :schedule_id ORDER BY position
""")

# A schedule whose row is locked is being fired. One that has moved on since this
# statement began is not due any more: PostgreSQL rechecks the condition.
_HOLD_DUE = text("""
    SELECT *, now() AS now FROM ledger.schedules
    WHERE next_at <= now() AND paused_at IS NULL AND removed_at IS NULL
      AND schedule_id <> ALL(CAST(:left_out AS bigint[]))
    ORDER BY next_at, schedule_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
""")

# Firing holds the row only while a scan is recorded, so this waits.
_HOLD = text("""
    SELECT *, now() AS now FROM ledger.schedules
    WHERE name = :name AND removed_at IS NULL FOR NO KEY UPDATE
""")

_MOVE_ON = text("""
    UPDATE ledger.schedules SET next_at = :next_at WHERE schedule_id = :schedule_id
""")

_RECORD = text("""
    INSERT INTO ledger.schedule_runs (schedule_id, due_at, outcome, by_hand, scan_id, reason)
    VALUES (:schedule_id, :due_at, CAST(:outcome AS ledger.schedule_outcome), :by_hand, :scan_id,
            :reason)
""")

_RECORD_MISSED = text("""
    INSERT INTO ledger.schedule_runs (schedule_id, due_at, outcome)
    SELECT :schedule_id, due_at, 'missed' FROM unnest(CAST(:times AS timestamptz[])) AS due_at
    ON CONFLICT DO NOTHING
""")

_IS_ANSWERED = text("""
    SELECT EXISTS (SELECT FROM ledger.schedule_runs
                   WHERE schedule_id = :schedule_id AND due_at = :due_at)
""")

_LINK = text("""
    UPDATE ledger.scans SET schedule_id = :schedule_id, due_at = :due_at WHERE scan_id = :scan_id
""")

_UNFINISHED = text("""
    SELECT scan_id FROM scan_progress
    WHERE scan_id = (SELECT max(scan_id) FROM ledger.scans WHERE schedule_id = :schedule_id)
      AND NOT has_ended
""")

_PAUSE = text("UPDATE ledger.schedules SET paused_at = now() WHERE schedule_id = :schedule_id")

_RESUME = text("""
    UPDATE ledger.schedules SET paused_at = NULL, next_at = :next_at
    WHERE schedule_id = :schedule_id
""")

_REMOVE = text("UPDATE ledger.schedules SET removed_at = now() WHERE schedule_id = :schedule_id")


class ScheduleOutcome(StrEnum):
    """The outcome of a run: a scan, or why there is none.

    A run is skipped where the scan before was not finished, missed where no producer was running,
    and refused where the scan could not be recorded.
    """

    FIRED = "fired"
    SKIPPED = "skipped"
    MISSED = "missed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule's sources and times; each source with the only host that can list it, or None.

    Its scans are audits; those of a full schedule read every image each time.
    """

    name: str
    cron: str
    timezone: str
    sources: tuple[NamedSource, ...]
    model_keys: tuple[str, ...]
    policy: str
    lane: Lane
    selection: Selection
    is_full: bool


@dataclass(frozen=True, slots=True)
class HeldSchedule:
    """A schedule whose row is locked until the transaction ends; `now` is the database's clock."""

    schedule_id: int
    schedule: Schedule
    next_at: datetime
    now: datetime
    is_paused: bool


def ledger_now(connection: Connection) -> datetime:
    """Return the start of the transaction by the database's clock."""
    now: datetime = connection.execute(_NOW).scalar_one()
    return now


def add_schedule(connection: Connection, schedule: Schedule, next_at: datetime) -> int:
    """Record a schedule and its sources; return its row.

    Raises:
        ScheduleError: another one has this name.
    """
    schedule_id = connection.execute(
        _ADD,
        {
            "name": schedule.name,
            "cron": schedule.cron,
            "timezone": schedule.timezone,
            "model_keys": list(schedule.model_keys),
            "policy": schedule.policy,
            "lane": schedule.lane.value,
            "selection": json.dumps(schedule.selection.as_json()),
            "is_full": schedule.is_full,
            "next_at": next_at,
        },
    ).scalar_one_or_none()
    if schedule_id is None:
        raise ScheduleError(
            f"there is a schedule {schedule.name!r} already; choose another name, or first "
            f"`fakesweep schedule remove` it"
        )
    connection.execute(
        _ADD_SOURCE,
        [
            {"schedule_id": schedule_id, "position": position} | NamedSource(*source).as_row()
            for position, source in enumerate(schedule.sources)
        ],
    )
    return int(schedule_id)


def hold_due(connection: Connection, left_out: Collection[int] = ()) -> HeldSchedule | None:
    """Lock the unlocked schedule that has been due the longest."""
    row = connection.execute(_HOLD_DUE, {"left_out": list(left_out)}).one_or_none()
    return None if row is None else _held(connection, row)


def hold(connection: Connection, name: str) -> HeldSchedule:
    """Lock a schedule.

    Raises:
        ScheduleError: there is none of that name.
    """
    row = connection.execute(_HOLD, {"name": storable(name)}).one_or_none()
    if row is None:
        raise unknown(name)
    return _held(connection, row)


def move_on(connection: Connection, schedule_id: int, next_at: datetime) -> None:
    """Record when a schedule is due next."""
    connection.execute(_MOVE_ON, {"schedule_id": schedule_id, "next_at": next_at})


def is_answered(connection: Connection, schedule_id: int, due_at: datetime) -> bool:
    """Return whether a run has a row already."""
    asked = {"schedule_id": schedule_id, "due_at": due_at}
    return bool(connection.execute(_IS_ANSWERED, asked).scalar_one())


def record_fired(
    connection: Connection,
    schedule_id: int,
    due_at: datetime,
    scan_id: int,
    *,
    by_hand: bool = False,
) -> None:
    """Record a run and its scan, each with the other."""
    connection.execute(_LINK, {"scan_id": scan_id, "schedule_id": schedule_id, "due_at": due_at})
    _record(
        connection, schedule_id, due_at, ScheduleOutcome.FIRED, scan_id=scan_id, by_hand=by_hand
    )


def record_unfired(
    connection: Connection,
    schedule_id: int,
    due_at: datetime,
    outcome: ScheduleOutcome,
    reason: str,
) -> None:
    """Record why a run made no scan."""
    _record(connection, schedule_id, due_at, outcome, reason=reason)


def record_missed(connection: Connection, schedule_id: int, times: Sequence[datetime]) -> None:
    """Record runs at which no producer was running; those with a row keep it."""
    if times:
        connection.execute(_RECORD_MISSED, {"schedule_id": schedule_id, "times": list(times)})


def unfinished_scan(connection: Connection, schedule_id: int) -> int | None:
    """Return the last scan of a schedule where it is neither finished nor cancelled."""
    asked = {"schedule_id": schedule_id}
    scan_id: int | None = connection.execute(_UNFINISHED, asked).scalar_one_or_none()
    return scan_id


def pause_schedule(connection: Connection, name: str) -> bool:
    """Pause a schedule; return False where it was paused already.

    Raises:
        ScheduleError: there is none of that name.
    """
    held = hold(connection, name)
    if held.is_paused:
        return False
    connection.execute(_PAUSE, {"schedule_id": held.schedule_id})
    return True


def resume_schedule(connection: Connection, held: HeldSchedule, next_at: datetime) -> None:
    """Resume a paused schedule that the caller has locked; its first run is at `next_at`."""
    connection.execute(_RESUME, {"schedule_id": held.schedule_id, "next_at": next_at})


def remove_schedule(connection: Connection, name: str) -> None:
    """Remove a schedule; its scans and runs stay.

    Raises:
        ScheduleError: there is none of that name.
    """
    held = hold(connection, name)
    connection.execute(_REMOVE, {"schedule_id": held.schedule_id})


def _held(connection: Connection, row: Any) -> HeldSchedule:
    sources = connection.execute(_SOURCES, {"schedule_id": row.schedule_id})
    schedule = Schedule(
        name=row.name,
        cron=row.cron,
        timezone=row.timezone,
        sources=tuple(
            NamedSource(row.source, row.hostname, tuple(row.members or ())) for row in sources
        ),
        model_keys=tuple(row.model_keys),
        policy=row.policy,
        lane=Lane(row.lane),
        selection=selection_of(row.selection),
        is_full=row.is_full,
    )
    return HeldSchedule(
        row.schedule_id, schedule, row.next_at, row.now, is_paused=row.paused_at is not None
    )


def _record(
    connection: Connection,
    schedule_id: int,
    due_at: datetime,
    outcome: ScheduleOutcome,
    *,
    scan_id: int | None = None,
    reason: str | None = None,
    by_hand: bool = False,
) -> None:
    connection.execute(
        _RECORD,
        {
            "schedule_id": schedule_id,
            "due_at": due_at,
            "outcome": outcome.value,
            "by_hand": by_hand,
            "scan_id": scan_id,
            "reason": reason and short(reason),
        },
    )


def unknown(name: str) -> ScheduleError:
    """Return the error for an unknown schedule name."""
    return ScheduleError(
        f"there is no schedule {name!r}; `fakesweep schedule list` shows those there are"
    )
