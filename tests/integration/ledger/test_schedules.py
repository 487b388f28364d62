"""Schedules on a real ledger: each time makes its scan once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from sqlalchemy import Engine

from fakesweep.producer.resources import Producer
from fakesweep.producer.schedules import firing
from fakesweep.producer.schedules.firing import fire_due, keep_schedules
from fakesweep.schema.ledger.scans.control import cancel_scan, pause_scan
from fakesweep.schema.ledger.schedules.reports import ScheduleState
from fakesweep.schema.ledger.schedules.schedules import ScheduleOutcome, hold_due
from fakesweep.schema.selection import Selection
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import end, rows, run, tuples, value
from tests.integration.ledger.scan_control import steer
from tests.integration.ledger.schedule_rows import (
    MODEL,
    RUNS,
    ZONE,
    add,
    far_hour,
    make_due,
    outcomes,
    producer_on,
    scans,
)
from tests.support.servers import wait_until


@pytest.fixture
def producer(engine: Engine) -> Producer:
    return producer_on(engine)


def test_a_time_makes_one_scan_of_all_that_was_asked_for(producer: Producer) -> None:
    engine = producer.engine
    chosen = Selection(include=("*.jpg",), since="7d", min_bytes=20_480)
    schedule_id = add(
        producer,
        sources=("s3://photos/a/", "https://example.com/list.txt"),
        lane=Lane.LIVE,
        policy="card",
        selection=chosen,
    )
    assert fire_due(producer) == 0
    make_due(engine)
    assert fire_due(producer) == 1
    assert fire_due(producer) == 0
    (scan,) = rows(engine, "SELECT * FROM ledger.scans")
    [(due_at, outcome, scan_id, reason)] = tuples(engine, RUNS)
    assert (outcome, scan_id, reason) == ("fired", scan["scan_id"], None)
    assert (scan["schedule_id"], scan["due_at"]) == (schedule_id, due_at)
    assert (scan["lane"], scan["model_keys"], scan["is_audit"]) == ("live", [MODEL], True)
    assert scan["selection"] == {"include": ["*.jpg"], "since": "7d", "min_bytes": 20_480}
    assert tuples(engine, "SELECT source, hostname FROM ledger.scan_sources ORDER BY position") == [
        ("s3://photos/a/", None), ("https://example.com/list.txt", None),
    ]  # fmt: skip
    assert tuples(engine, "SELECT name, policy FROM scan_progress") == [("nightly", "card")]
    assert value(
        engine,
        "SELECT next_at > now() AND to_char(next_at AT TIME ZONE :zone, 'HH24:MI:SS') "
        "= :hour || ':00:00' FROM schedules",
        zone=ZONE, hour=f"{far_hour():02}",
    )  # fmt: skip


def test_a_full_schedule_looks_at_everything_each_time(producer: Producer) -> None:
    add(producer, is_audit=False)
    make_due(producer.engine)
    assert fire_due(producer) == 1
    assert value(producer.engine, "SELECT is_audit FROM ledger.scans") is False


def test_producers_that_look_at_once_make_one_scan_of_each_time(producer: Producer) -> None:
    engine = producer.engine
    names = [f"schedule {number}" for number in range(6)]
    for name in names:
        add(producer, name)
    rounds, together = 8, threading.Barrier(4)

    def look(_: int) -> int:
        together.wait()
        return fire_due(producer)

    with ThreadPoolExecutor(4) as threads:
        for number in range(rounds):
            run(engine, "UPDATE ledger.scans SET cancelled_at = now()")
            run(engine, "UPDATE ledger.schedules SET next_at = now()")
            list(threads.map(look, range(4)))
            assert scans(engine) == (number + 1) * len(names)
    assert value(engine, "SELECT count(DISTINCT due_at) FROM ledger.scans") == rounds
    assert tuples(engine, "SELECT outcome, count(*) FROM schedule_runs GROUP BY 1") == [
        ("fired", rounds * len(names))
    ]


def test_a_schedule_that_another_producer_holds_is_left_to_it(producer: Producer) -> None:
    add(producer)
    make_due(producer.engine)
    with producer.engine.begin() as connection:
        assert hold_due(connection) is not None
        assert fire_due(producer) == 0
    assert fire_due(producer) == 1


def test_a_time_that_was_answered_for_makes_no_second_scan(producer: Producer) -> None:
    engine = producer.engine
    add(producer)
    make_due(engine)
    assert fire_due(producer) == 1
    run(engine, "UPDATE ledger.scans SET cancelled_at = now()")
    run(engine, "UPDATE ledger.schedules SET next_at = (SELECT due_at FROM ledger.scans)")
    assert fire_due(producer) == 0
    assert (scans(engine), outcomes(engine)) == (1, ["fired"])
    run(engine, "DELETE FROM ledger.schedule_runs")
    run(engine, "UPDATE ledger.schedules SET next_at = (SELECT due_at FROM ledger.scans)")
    assert fire_due(producer) == 0
    [(_, outcome, _, reason)] = tuples(engine, RUNS)
    assert (scans(engine), outcome) == (1, "refused")
    assert "scans_schedule" in reason


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_time_is_skipped_while_the_last_scan_is_not_finished(
    producer: Producer, is_paused: bool
) -> None:
    engine = producer.engine
    add(producer)
    make_due(engine)
    fire_due(producer)
    if is_paused:
        steer(engine, pause_scan, 1)
    make_due(engine)
    assert fire_due(producer) == 0
    (_, skipped) = tuples(engine, RUNS)
    assert skipped[1:] == ("skipped", None, "scan 1 was not finished")
    if is_paused:
        steer(engine, cancel_scan, 1)
    else:
        end(engine, 1)
    make_due(engine)
    assert fire_due(producer) == 1
    assert outcomes(engine) == ["fired", "skipped", "fired"]


def test_of_missed_times_the_newest_makes_one_scan_and_each_other_leaves_a_row(
    producer: Producer,
) -> None:
    engine = producer.engine
    add(producer, cron="0 * * * *")
    run(engine, "UPDATE ledger.schedules SET next_at = date_trunc('hour', now()) - interval '5 h'")
    first = value(engine, "SELECT next_at FROM schedules")
    assert fire_due(producer) == 1
    hours = (
        "SELECT count(*) - 1 FROM generate_series(CAST(:first AS timestamptz), "
        "(SELECT max(due_at) FROM schedule_runs), '1 hour')"
    )
    missed = value(engine, hours, first=first)
    assert missed >= 5
    assert outcomes(engine) == ["missed"] * missed + ["fired"]
    assert value(engine, "SELECT min(due_at) FROM schedule_runs") == first
    assert value(engine, "SELECT next_at - max(due_at) = '1 h' FROM schedules, schedule_runs "
                         "GROUP BY next_at")  # fmt: skip


def test_times_that_were_missed_in_great_number_are_recorded_part_by_part(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = producer.engine
    monkeypatch.setattr(firing, "MOST_TIMES", 10)
    add(producer, cron="* * * * *")
    run(
        engine, "UPDATE ledger.schedules SET next_at = date_trunc('minute', now() - interval '1 h')"
    )
    assert fire_due(producer) == 1
    found = outcomes(engine)
    assert len(found) >= 61
    assert found == ["missed"] * (len(found) - 1) + ["fired"]


def test_a_scan_that_cannot_be_asked_for_is_recorded_and_blocks_no_other(
    producer: Producer,
) -> None:
    engine = producer.engine
    add(producer, "broken")
    add(producer, "sound")
    run(engine, "UPDATE ledger.schedules SET model_keys = '{gone}' WHERE name = 'broken'")
    make_due(engine, "2 hours", "broken")
    make_due(engine, "1 hour", "sound")
    assert fire_due(producer) == 1
    (broken, sound) = tuples(engine, RUNS)
    assert broken[1:3] == ("refused", None)
    assert "model 'gone' is not known" in broken[3]
    assert sound[1] == "fired"
    assert value(engine, "SELECT bool_and(next_at > now()) FROM schedules")
    assert fire_due(producer) == 0


def test_a_schedule_whose_zone_is_not_known_here_stays_due_for_another_producer(
    producer: Producer,
) -> None:
    engine = producer.engine
    strange = add(producer, "strange")
    add(producer, "sound")
    run(engine, "UPDATE ledger.schedules SET timezone = 'Mars/Olympus' WHERE name = 'strange'")
    make_due(engine, "2 hours", "strange")
    make_due(engine, "1 hour", "sound")
    left_out: set[int] = set()
    assert fire_due(producer, left_out) == 1
    assert left_out == {strange}
    assert (outcomes(engine, "strange"), outcomes(engine, "sound")) == ([], ["fired"])
    assert value(engine, "SELECT next_at < now() FROM schedules WHERE name = 'strange'")


def test_code_and_tables_use_the_same_words(engine: Engine) -> None:
    kept = tuples(engine, "SELECT unnest(enum_range(NULL::ledger.schedule_outcome))::text")
    assert [word for (word,) in kept] == [outcome.value for outcome in ScheduleOutcome]
    assert {state.value for state in ScheduleState} == {"active", "paused", "removed"}


def test_keeping_schedules_outlives_its_connections(producer: Producer) -> None:
    engine = producer.engine
    end_others = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """
    add(producer)
    stop = threading.Event()
    keeping = threading.Thread(target=keep_schedules, args=(producer, stop))
    keeping.start()
    try:
        for number in range(1, 4):
            run(engine, end_others)
            run(engine, "UPDATE ledger.scans SET cancelled_at = now()")
            make_due(engine)
            wait_until(partial(_has_made, engine, number), "the time made its scan")
    finally:
        stop.set()
        keeping.join(30)
    assert not keeping.is_alive()
    assert outcomes(engine) == ["fired"] * 3


def _has_made(engine: Engine, wanted: int) -> bool:
    return scans(engine) == wanted
