"""Reports on schedules: their states and runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, text

from fakesweep.schema.ledger.schedules.schedules import unknown
from fakesweep.schema.reasons import storable

_REPORTS = text("SELECT * FROM schedules WHERE state <> 'removed' ORDER BY name")

_REPORT = text("SELECT * FROM schedules WHERE name = :name AND state <> 'removed'")

_RUNS = text("""
    SELECT due_at, outcome, by_hand, scan_id, reason, recorded_at FROM schedule_runs
    WHERE schedule_id = :schedule_id ORDER BY due_at DESC LIMIT :at_most
""")


class ScheduleState(StrEnum):
    """The state of a schedule; derived in the `schedules` view, never stored."""

    ACTIVE = "active"
    PAUSED = "paused"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class ScheduleReport:
    """A schedule with the columns of its view."""

    schedule_id: int
    name: str
    state: str
    cron: str
    timezone: str
    next_at: datetime | None
    sources: Sequence[str]
    models: Sequence[str]
    policy: str
    lane: str
    is_full: bool
    selection: Mapping[str, Any]
    last_due_at: datetime | None
    last_outcome: str | None
    last_scan_id: int | None
    created_at: datetime
    paused_at: datetime | None
    removed_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunReport:
    """The outcome of one run of a schedule."""

    due_at: datetime
    outcome: str
    by_hand: bool
    scan_id: int | None
    reason: str | None
    recorded_at: datetime


def schedule_reports(connection: Connection) -> list[ScheduleReport]:
    """Return every schedule that is not removed, by name."""
    return [ScheduleReport(**row) for row in connection.execute(_REPORTS).mappings()]


def schedule_report(connection: Connection, name: str) -> ScheduleReport:
    """Return the state of a schedule.

    Raises:
        ScheduleError: there is none of that name.
    """
    row = connection.execute(_REPORT, {"name": storable(name)}).mappings().one_or_none()
    if row is None:
        raise unknown(name)
    return ScheduleReport(**row)


def runs_of(connection: Connection, schedule_id: int, at_most: int) -> list[RunReport]:
    """Return a schedule's last runs, the newest first."""
    rows = connection.execute(_RUNS, {"schedule_id": schedule_id, "at_most": at_most})
    return [RunReport(**row) for row in rows.mappings()]
