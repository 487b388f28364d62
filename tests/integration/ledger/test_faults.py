"""Faults of one batch: recounted or set aside, while others are requeued."""

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.batches.deferrals import (
    LONGEST_PAUSE_SECONDS,
    set_aside,
    troubles,
    try_again,
)
from fakesweep.schema.ledger.batches.delivery import Taken, take_up
from fakesweep.schema.ledger.batches.leases import claim_batch
from fakesweep.schema.ledger.batches.recovery import UNSEEN_SECONDS, requeue_expired
from fakesweep.schema.ledger.registry.processes import register_worker
from fakesweep.schema.ledger.reports.stalls import movement
from fakesweep.schema.ledger.scans.control import pause_scan, resume_scan
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.settings import LONGEST_LEASE_SECONDS
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import (
    WORKER,
    add_model,
    ask,
    claimed,
    content_of,
    end,
    judged,
    record,
    rows,
    run,
    store,
    take,
    take_one,
    tuples,
    value,
)

URIS = [f"s3://photos/{number}" for number in range(4)]
PROGRESS = "SELECT state, submitted, classified, failed, pending FROM scan_progress"


@pytest.fixture
def model(engine: Engine) -> int:
    return add_model(engine)


def _answer(engine: Engine, image_id: int) -> None:
    """Insert an outcome that no batch counts, with a worker's rights."""
    run(
        engine,
        "INSERT INTO ledger.outcomes (image_id, scan_id, status, failure_code, failure_message) "
        "VALUES (:image_id, 1, 'failed', 'corrupt', 'a row from nowhere')",
        image_id=image_id,
    )


def _recover(engine: Engine) -> tuple[int, ...]:
    """Expire every lease; return the batches that recovery set aside."""
    run(engine, "UPDATE ledger.batches SET lease_until = now() - interval '1 second'")
    with engine.begin() as connection:
        return tuple(fault.batch_id for fault in requeue_expired(connection).faults)


def _work(engine: Engine, message: BatchMessage, model: int) -> None:
    with engine.begin() as connection:
        taken = take_up(connection, message, WORKER, 60.0)
    if not isinstance(taken, Taken):
        return
    held = taken.claim
    found = [judged(held, one, content_of(one.image_id), {model: 0.9}) for one in taken.images]
    assert store(engine, held, found)


def _finish(engine: Engine, model: int) -> None:
    while messages := [message for lane in Lane for message in take(engine, lane)]:
        for message in messages:
            _work(engine, message, model)


@pytest.mark.parametrize("answered", [1, 2, 4])
def test_rows_that_no_batch_counts_stop_neither_recovery_nor_their_scan(
    engine: Engine, model: int, answered: int
) -> None:
    """Uncounted rows arrive at any step of the recovery, down to failed images."""
    scan_id = ask(engine)
    record(engine, scan_id, URIS)
    end(engine, scan_id)
    for kills in range(6):
        for message in [one for lane in Lane for one in take(engine, lane)]:
            with engine.begin() as connection:
                claim_batch(connection, message.batch_id, WORKER, 60)
        if kills == 2:
            for image_id in range(1, answered + 1):
                _answer(engine, image_id)
        assert _recover(engine) == ()
    _finish(engine, model)
    [(state, submitted, classified, failed, pending)] = tuples(engine, PROGRESS)
    assert (state, submitted, pending) == ("finished", 4, 0)
    assert classified + failed == 4
    assert value(engine, "SELECT count(*) FROM ledger.outcomes") == 4


def test_a_row_for_an_image_that_does_not_exist_yet_is_counted_when_it_does(
    engine: Engine, model: int
) -> None:
    scan_id = ask(engine)
    _answer(engine, 3)
    record(engine, scan_id, URIS)
    end(engine, scan_id)
    _finish(engine, model)
    assert tuples(engine, PROGRESS) == [("finished", 4, 3, 1, 0)]


def test_a_batch_whose_every_image_is_answered_is_done_without_work(
    engine: Engine, model: int
) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, URIS)
    end(engine, scan_id)
    for image_id in range(1, 5):
        _answer(engine, image_id)
    _finish(engine, model)
    assert tuples(engine, PROGRESS) == [("finished", 4, 0, 4, 0)]


def test_one_batch_at_fault_is_set_aside_and_the_others_come_back(engine: Engine) -> None:
    for number in range(3):
        record(engine, ask(engine), [f"s3://photos/{number}/{n}" for n in range(2)])
    for _ in range(3):
        for message in [one for lane in Lane for one in take(engine, lane)]:
            claimed(engine, message.batch_id)
        run(engine, "UPDATE ledger.batches SET attempt = 2147483647 WHERE batch_id = 2 AND "
                    "lane = 'quarantine'")  # fmt: skip
        faults = _recover(engine)
    assert faults == (2,)
    states = "SELECT coalesce(split_from, batch_id), state FROM ledger.batches ORDER BY 1"
    assert tuples(engine, states) == [
        (1, "recorded"), (1, "recorded"), (2, "set_aside"), (3, "recorded"), (3, "recorded"),
    ]  # fmt: skip
    [trouble] = rows(engine, "SELECT * FROM batch_troubles")
    assert (trouble["batch_id"], trouble["pending"], trouble["refusals"]) == (2, 2, 1)
    assert "out of range" in trouble["reason"]
    with engine.begin() as connection:
        found = troubles(connection)
        moving = movement(connection, 2, within_seconds=60)
    assert (found.batches, found.images, found.reason) == (1, 2, trouble["reason"])
    assert (moving.troubled, moving.trouble) == (1, trouble["reason"])


def test_where_one_batch_cannot_even_be_handed_back_the_others_are(engine: Engine) -> None:
    for number in range(3):
        record(engine, ask(engine), [f"s3://photos/{number}"])
    for message in take(engine):
        claimed(engine, message.batch_id)
    run(engine, "UPDATE ledger.batches SET expiries = 2147483647 WHERE batch_id = 2")
    assert _recover(engine) == (2,)
    states = tuples(engine, "SELECT state FROM ledger.batches ORDER BY batch_id")
    assert states == [("recorded",), ("set_aside",), ("recorded",)]


def test_the_pause_of_a_set_aside_batch_doubles_until_a_store(engine: Engine, model: int) -> None:
    record(engine, ask(engine), URIS)
    rests = []
    for _ in range(12):
        message = take_one(engine)
        with engine.begin() as connection:
            assert set_aside(connection, message.batch_id, "no \x00 room", message.attempt)
            assert try_again(connection) == 0
        rests.append(value(engine, "SELECT extract(epoch FROM try_at - now()) FROM batch_troubles"))
        assert take(engine) == []
        run(engine, "UPDATE ledger.batches SET try_at = now()")
        with engine.begin() as connection:
            assert try_again(connection) == 1
    assert all(4 * before > 3 * after > 0 for before, after in zip(rests[1:], rests, strict=False))
    assert float(rests[-1]) <= LONGEST_PAUSE_SECONDS
    _work(engine, take_one(engine), model)
    assert tuples(
        engine, "SELECT refusals, trouble, troubled_since, try_at FROM ledger.batches"
    ) == [(0, None, None, None)]


def test_a_batch_set_aside_in_a_paused_scan_stays_held(engine: Engine) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, URIS)
    message = take_one(engine)
    with engine.begin() as connection:
        set_aside(connection, message.batch_id, "refused")
    assert value(engine, "SELECT state FROM ledger.batches") == "set_aside"
    with engine.begin() as connection:
        assert pause_scan(connection, scan_id)
    assert value(engine, "SELECT state FROM ledger.batches") == "held"
    with engine.begin() as connection:
        assert resume_scan(connection, scan_id)
    assert take_one(engine).images == message.images


def test_a_worker_that_lost_a_batch_cannot_set_it_aside(engine: Engine) -> None:
    record(engine, ask(engine), URIS)
    held = claimed(engine, take_one(engine).batch_id)
    _recover(engine)
    claimed(engine, take_one(engine).batch_id)
    with engine.begin() as connection:
        assert not set_aside(connection, held.batch_id, "refused", held.attempt)
    assert value(engine, "SELECT state FROM ledger.batches") == "running"


@pytest.mark.parametrize(
    "lease",
    ["'infinity'", "NULL", f"now() + interval '{LONGEST_LEASE_SECONDS + 60} seconds'"],
)
def test_a_lease_that_no_setting_allows_runs_out_at_once(engine: Engine, lease: str) -> None:
    record(engine, ask(engine), URIS)
    claimed(engine, take_one(engine).batch_id)
    run(engine, f"UPDATE ledger.batches SET lease_until = {lease}")
    with engine.begin() as connection:
        assert requeue_expired(connection).batches == 1
    assert take_one(engine).attempt == 1


def test_the_lease_of_a_worker_that_is_not_seen_runs_out(engine: Engine) -> None:
    with engine.begin() as connection:
        register_worker(connection, WORKER, hostname="h", pid=1, device="cpu", version="1")
    record(engine, ask(engine), URIS)
    claimed(engine, take_one(engine).batch_id)
    run(engine, "UPDATE ledger.batches SET lease_until = now() + interval '50 minutes'")
    with engine.begin() as connection:
        assert requeue_expired(connection).batches == 0
    gone = f"UPDATE ledger.workers SET seen_at = now() - interval '{UNSEEN_SECONDS + 1} seconds'"
    run(engine, gone)
    with engine.begin() as connection:
        assert requeue_expired(connection).batches == 1
