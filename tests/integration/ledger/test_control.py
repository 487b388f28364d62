"""Pause, resume and cancellation of scans, also concurrent with writers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine

from fakesweep.schema.errors import ScanError
from fakesweep.schema.ledger.batches.leases import release_batch
from fakesweep.schema.ledger.batches.publishing import take_recorded
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.ledger.scans.control import begin_retry, cancel_scan, pause_scan, resume_scan
from fakesweep.schema.ledger.scans.scans import scans_to_list
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import (
    WORKER,
    ask,
    claim,
    claimed,
    end,
    failed,
    listed,
    record,
    store,
    take,
    take_one,
    tuples,
    value,
)
from tests.integration.ledger.scan_control import (
    in_background,
    scan_with_four_batches,
    state_of,
    steer,
)
from tests.support.batches import record_batch

Steer = Callable[[Connection, int], object]


def _batches(engine: Engine) -> list[tuple[object, ...]]:
    return tuples(engine, "SELECT batch_id, state FROM ledger.batches ORDER BY batch_id")


def test_a_pause_holds_what_no_worker_has_and_leaves_the_rest(engine: Engine) -> None:
    scan_id = scan_with_four_batches(engine)
    assert steer(engine, pause_scan, scan_id)
    assert _batches(engine) == [(1, "done"), (2, "running"), (3, "held"), (4, "held")]
    assert state_of(engine, scan_id) == "paused"
    assert claim(engine, 3) is None
    assert take(engine) == []
    with engine.connect() as connection:
        now = progress(connection, scan_id)
    assert now.paused_at is not None
    assert now.seconds_left is None


def test_a_batch_in_work_is_stored_while_its_scan_is_paused(engine: Engine) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1"])
    record(engine, scan_id, ["s3://photos/2"])
    first, _ = take(engine)
    held = claimed(engine, first.batch_id)
    steer(engine, pause_scan, scan_id)
    assert store(engine, held, [failed(first.images[0])])
    assert state_of(engine, scan_id) == "paused"
    assert _batches(engine) == [(1, "done"), (2, "held")]


def test_a_batch_handed_back_while_its_scan_is_paused_is_held(engine: Engine) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1"])
    held = claimed(engine, take_one(engine).batch_id)
    steer(engine, pause_scan, scan_id)
    with engine.begin() as connection:
        release_batch(connection, held, WORKER)
    assert _batches(engine) == [(1, "held")]


def test_pausing_holds_the_batches_of_that_scan_alone(engine: Engine) -> None:
    scan_id, other = ask(engine), ask(engine)
    record(engine, scan_id, ["s3://photos/1"])
    record(engine, other, ["s3://photos/1"])
    steer(engine, pause_scan, scan_id)
    assert [message.scan_id for message in take(engine)] == [other]


def test_nothing_more_is_listed_of_a_paused_or_cancelled_scan(engine: Engine) -> None:
    paused, cancelled, free = ask(engine), ask(engine), ask(engine)
    steer(engine, pause_scan, paused)
    steer(engine, cancel_scan, cancelled)
    with engine.begin() as connection:
        assert scans_to_list(connection, "here") == [free]
        assert record_batch(connection, paused, 0, listed(["s3://photos/1"])) is None
        assert record_batch(connection, cancelled, 0, listed(["s3://photos/1"])) is None
    assert _batches(engine) == []


def test_a_resumed_scan_goes_on_with_what_was_held(engine: Engine) -> None:
    scan_id = scan_with_four_batches(engine)
    steer(engine, pause_scan, scan_id)
    assert steer(engine, resume_scan, scan_id)
    assert _batches(engine) == [(1, "done"), (2, "running"), (3, "recorded"), (4, "recorded")]
    assert state_of(engine, scan_id) == "running"
    assert not steer(engine, resume_scan, scan_id)


def test_a_repeated_pause_resume_or_cancel_changes_nothing(engine: Engine) -> None:
    scan_id = scan_with_four_batches(engine)
    for action, column in ((pause_scan, "paused_at"), (cancel_scan, "cancelled_at")):
        assert steer(engine, action, scan_id)
        before = value(engine, f"SELECT {column} FROM ledger.scans")
        assert not steer(engine, action, scan_id)
        assert value(engine, f"SELECT {column} FROM ledger.scans") == before


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_cancelled_scan_keeps_what_it_found_and_the_rest_pending(
    engine: Engine, is_paused: bool
) -> None:
    scan_id = scan_with_four_batches(engine)
    if is_paused:
        steer(engine, pause_scan, scan_id)
    assert steer(engine, cancel_scan, scan_id)
    assert _batches(engine) == [(1, "done"), (2, "running"), (3, "held"), (4, "held")]
    assert state_of(engine, scan_id) == "cancelled"
    with engine.connect() as connection:
        now = progress(connection, scan_id)
    assert (now.submitted, now.failed, now.pending) == (8, 2, 6)
    assert now.finished_at is not None


@pytest.mark.parametrize("action", [pause_scan, resume_scan, begin_retry])
def test_a_cancelled_scan_cannot_be_paused_or_resumed(engine: Engine, action: Steer) -> None:
    scan_id = scan_with_four_batches(engine)
    steer(engine, cancel_scan, scan_id)
    with pytest.raises(ScanError, match=r"was cancelled and cannot be .* scan its sources again"):
        steer(engine, action, scan_id)
    assert state_of(engine, scan_id) == "cancelled"


@pytest.mark.parametrize("action", [pause_scan, cancel_scan])
def test_a_finished_scan_cannot_be_halted(engine: Engine, action: Steer) -> None:
    scan_id = ask(engine)
    end(engine, scan_id)
    with pytest.raises(ScanError, match="is finished; there is nothing left"):
        steer(engine, action, scan_id)
    assert state_of(engine, scan_id) == "finished"


@pytest.mark.parametrize("action", [pause_scan, resume_scan, cancel_scan, begin_retry])
def test_an_unknown_scan_cannot_be_paused_resumed_or_cancelled(
    engine: Engine, action: Steer
) -> None:
    with pytest.raises(ScanError, match="there is no scan 7"):
        steer(engine, action, 7)


@pytest.mark.parametrize("action", [pause_scan, cancel_scan])
def test_a_batch_that_is_recorded_at_the_moment_of_a_pause_is_held(
    engine: Engine, action: Steer
) -> None:
    scan_id = ask(engine)
    with ThreadPoolExecutor(1) as threads:
        with engine.begin() as connection:
            record_batch(connection, scan_id, 0, listed(["s3://photos/1"]))
            halting = in_background(engine, threads, lambda: steer(engine, action, scan_id))
        assert halting.result()
    assert _batches(engine) == [(1, "held")]
    assert take(engine) == []


@pytest.mark.parametrize("action", [pause_scan, cancel_scan])
def test_listing_waits_for_a_pause_and_records_nothing_after_it(
    engine: Engine, action: Steer
) -> None:
    scan_id = ask(engine)

    def record_one() -> int | None:
        with engine.begin() as connection:
            return record_batch(connection, scan_id, 0, listed(["s3://photos/1"]))

    with ThreadPoolExecutor(1) as threads:
        with engine.begin() as connection:
            assert action(connection, scan_id)
            listing = in_background(engine, threads, record_one)
        assert listing.result() is None
    assert _batches(engine) == []


def test_a_pause_holds_batches_that_are_taken_to_be_published_at_that_moment(
    engine: Engine,
) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1"])
    with ThreadPoolExecutor(1) as threads:
        with engine.begin() as connection:
            (message,) = take_recorded(connection, Lane.BULK, 10)
            pausing = in_background(engine, threads, lambda: steer(engine, pause_scan, scan_id))
        assert pausing.result()
    assert _batches(engine) == [(1, "held")]
    assert claim(engine, message.batch_id) is None


def test_batches_that_are_being_held_are_not_taken_to_be_published(engine: Engine) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1"])
    with engine.begin() as connection:
        pause_scan(connection, scan_id)
        assert take(engine) == []
    assert take(engine) == []


def test_a_claim_that_waits_for_a_pause_gets_nothing(engine: Engine) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1"])
    message = take_one(engine)
    with ThreadPoolExecutor(1) as threads:
        with engine.begin() as connection:
            pause_scan(connection, scan_id)
            claiming = in_background(engine, threads, lambda: claim(engine, message.batch_id))
        assert claiming.result() is None
    assert _batches(engine) == [(1, "held")]


def test_a_batch_handed_back_at_the_moment_of_a_pause_is_not_claimed(engine: Engine) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1"])
    held = claimed(engine, take_one(engine).batch_id)
    with engine.begin() as connection:
        release_batch(connection, held, WORKER)
        steer(engine, pause_scan, scan_id)
    assert claim(engine, held.batch_id) is None
