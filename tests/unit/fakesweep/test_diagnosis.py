from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fakesweep.diagnosis import Blocker, Reason, blockers_of
from fakesweep.schema.ledger.reports.progress import Progress
from fakesweep.schema.ledger.reports.stalls import Movement
from fakesweep.schema.settings import Settings
from tests.unit.fakesweep.foreground.test_progress import RUNNING

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MOVING = replace(RUNNING, progressed_at=NOON, listed_at=NOON)
STILL = NOON + timedelta(seconds=11)
ALL_THERE = Movement(
    at=NOON, recorded=1, published=2, running=3, expired=0, running_since=NOON, quarantined=0,
    workers=1, producers=["here"], listed_by=[],
)  # fmt: skip
ELSEWHERE = Settings(database_url="postgresql://db/x", home=Path("/nowhere"))
"""Names no broker, so none is pinged."""


def told(now: Progress, found: Movement) -> list[Reason]:
    return [wait.reason for wait in blockers_of(now, found, ELSEWHERE)]


def only(now: Progress, found: Movement) -> Blocker:
    (wait,) = blockers_of(now, found, ELSEWHERE)
    return wait


def test_a_scan_that_moves_has_no_blocker() -> None:
    assert told(MOVING, ALL_THERE) == []
    assert told(MOVING, replace(ALL_THERE, at=NOON + timedelta(seconds=9))) == []


@pytest.mark.parametrize("state", ["finished", "cancelled"])
def test_a_scan_that_has_ended_has_no_blocker(state: str) -> None:
    gone = replace(ALL_THERE, at=STILL, workers=0, producers=[])
    assert told(replace(MOVING, state=state, pending=3), gone) == []


def test_a_pause_is_the_only_blocker_and_names_its_remedy() -> None:
    paused = replace(MOVING, state="paused", paused_at=NOON)
    wait = only(paused, replace(ALL_THERE, workers=0, producers=[], at=STILL))
    assert wait.reason is Reason.PAUSED
    assert "since 2026-11-20 12:00:00 UTC" in wait.said
    assert "resume 7" in wait.said


def test_missing_workers_and_producers_are_reported_at_once() -> None:
    alone = replace(ALL_THERE, workers=0, producers=[])
    assert told(MOVING, alone) == [Reason.NO_WORKER, Reason.NO_PRODUCER]
    assert told(MOVING, replace(alone, recorded=0)) == [Reason.NO_WORKER]


def test_a_scan_being_listed_with_nothing_found_yet_misses_a_producer_and_no_worker() -> None:
    unlisted = replace(MOVING, state="listing", listed_at=None, submitted=120, pending=0)
    assert told(unlisted, replace(ALL_THERE, workers=0, producers=[])) == [Reason.NO_PRODUCER]


@pytest.mark.parametrize(
    ("at", "published", "expired", "expected"),
    [
        (NOON, 2, 0, []),
        (STILL, 2, 0, [Reason.NO_PRODUCER]),
        (NOON, 0, 1, [Reason.NO_PRODUCER]),
        (STILL, 0, 0, [Reason.IN_WORK]),
    ],
)
def test_a_missing_producer_is_reported_if_batches_may_be_lost(
    at: datetime, published: int, expired: int, expected: list[Reason]
) -> None:
    found = replace(
        ALL_THERE, at=at, recorded=0, published=published, expired=expired, producers=[]
    )
    assert told(MOVING, found) == expected


def test_the_only_machine_that_can_list_a_folder_is_named() -> None:
    unlisted = replace(MOVING, state="listing", listed_at=None)
    found = replace(ALL_THERE, at=STILL, listed_by=["nas-1", "here"])
    wait = only(unlisted, found)
    assert wait.reason is Reason.NO_PRODUCER
    assert "only nas-1 can list what is left" in wait.said


def test_slow_work_is_reported_as_slow() -> None:
    still = replace(ALL_THERE, at=STILL)
    assert only(MOVING, still) == Blocker(
        Reason.IN_WORK, "3 batches are in work, the oldest since 2026-11-20 12:00:00 UTC"
    )
    assert only(MOVING, replace(still, running=0)) == Blocker(
        Reason.IN_QUEUE, "3 batches wait in the queue"
    )
    unlisted = replace(MOVING, state="listing", listed_at=None, pending=0)
    assert only(unlisted, replace(still, running=0)).reason is Reason.LISTING


def test_only_missing_parts_remove_the_time_left() -> None:
    assert [reason for reason in Reason if reason.is_blocking] == [
        Reason.PAUSED,
        Reason.NO_WORKER,
        Reason.NO_PRODUCER,
        Reason.NO_BROKER,
    ]


def test_batches_set_aside_are_reported_at_once_with_reason_and_query() -> None:
    refused = replace(ALL_THERE, troubled=2, trouble="permission denied for table outcomes")
    wait = only(MOVING, refused)
    assert wait.reason is Reason.SET_ASIDE
    assert not wait.reason.is_blocking, "the other batches go on"
    assert "2 batches could not be stored" in wait.said
    assert "permission denied for table outcomes" in wait.said
    assert "batch_troubles" in wait.said
    assert "1 batch could" in only(MOVING, replace(refused, troubled=1)).said
