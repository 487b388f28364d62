"""Recovery: expired leases are requeued, and batches that kill workers isolated."""

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.batches.leases import claim_batch, release_batch
from fakesweep.schema.ledger.batches.recovery import (
    Requeued,
    any_long_published,
    requeue_expired,
    requeue_lost,
)
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import (
    WORKER,
    add_model,
    ask,
    claim,
    claimed,
    content_of,
    end,
    judged,
    listed,
    record,
    rows,
    run,
    store,
    take,
    take_one,
    tuples,
    value,
)
from tests.support.batches import record_batch

URIS = [f"s3://photos/{number}" for number in range(1, 6)]


def _expire(engine: Engine) -> Requeued:
    run(engine, "UPDATE ledger.batches SET lease_until = now() - interval '1 second'")
    with engine.begin() as connection:
        return requeue_expired(connection)


def _take_any(engine: Engine) -> list[BatchMessage]:
    return [message for lane in Lane for message in take(engine, lane)]


def _kill(engine: Engine) -> Requeued:
    """Claim the only batch by a worker that dies."""
    [message] = _take_any(engine)
    assert claim(engine, message.batch_id) is not None
    return _expire(engine)


def _identity(engine: Engine) -> tuple[int, ...]:
    [row] = tuples(
        engine,
        "SELECT submitted, classified, reused, failed, pending FROM scan_progress",
    )
    assert row[0] == sum(row[1:])
    return tuple(map(int, row))


def test_a_batch_whose_worker_is_gone_is_published_again(engine: Engine) -> None:
    record(engine, ask(engine), URIS)
    message = take_one(engine)
    claimed(engine, message.batch_id)
    with engine.begin() as connection:
        assert requeue_expired(connection).batches == 0
    assert _expire(engine) == Requeued(1, 0, 0, ())
    again = take_one(engine)
    assert again.images == message.images
    assert (message.attempt, again.attempt) == (0, 1)


def test_a_batch_whose_lease_is_being_renewed_is_left_to_its_worker(engine: Engine) -> None:
    record(engine, ask(engine), URIS)
    claimed(engine, take_one(engine).batch_id)
    run(engine, "UPDATE ledger.batches SET lease_until = now() - interval '1 second'")
    with engine.begin() as worker, engine.begin() as producer:
        worker.exec_driver_sql("UPDATE ledger.batches SET lease_until = now() + interval '1 hour'")
        assert requeue_expired(producer).batches == 0


def test_a_batch_that_is_not_in_its_queue_any_more_is_published_again(engine: Engine) -> None:
    for number in range(3):
        record(engine, ask(engine), [f"s3://photos/{number}"])
    first, second, third = (message.batch_id for message in take(engine))
    with engine.begin() as connection:
        assert not any_long_published(connection, Lane.BULK, 30.0)
        assert requeue_lost(connection, Lane.BULK, [], 30.0) == 0
    run(engine, "UPDATE ledger.batches SET published_at = now() - interval '31 seconds'")
    assert claim(engine, first) is not None
    with engine.begin() as connection:
        assert any_long_published(connection, Lane.BULK, 30.0)
        assert requeue_lost(connection, Lane.LIVE, [], 30.0) == 0
        assert requeue_lost(connection, Lane.BULK, [second], 30.0) == 1
    assert take_one(engine).batch_id == third


def test_a_batch_that_killed_two_workers_goes_into_quarantine(engine: Engine) -> None:
    record(engine, ask(engine), URIS)
    assert _kill(engine).in_quarantine == 0
    assert _kill(engine) == Requeued(1, 1, 0, ())
    assert take(engine, Lane.BULK) == []
    [message] = take(engine, Lane.QUARANTINE)
    assert message.lane is Lane.QUARANTINE
    assert [image.uri for image in message.images] == URIS


def test_deaths_before_quarantine_are_no_strike_since_a_neighbour_may_be_to_blame(
    engine: Engine,
) -> None:
    record(engine, ask(engine), URIS[:1])
    for _ in range(2):
        _kill(engine)
    assert value(engine, "SELECT strikes FROM ledger.batches") == 0
    assert _kill(engine).killers == ()
    assert value(engine, "SELECT strikes FROM ledger.batches") == 1


def test_a_batch_that_kills_a_worker_in_quarantine_is_halved(engine: Engine) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, URIS)
    for _ in range(2):
        _kill(engine)
    [whole] = take(engine, Lane.QUARANTINE)
    held = claimed(engine, whole.batch_id)
    assert _expire(engine) == Requeued(1, 1, 1, ())
    first, second = take(engine, Lane.QUARANTINE)
    assert [image.uri for image in first.images] == URIS[:2]
    assert [image.uri for image in second.images] == URIS[2:]
    found = tuples(
        engine,
        "SELECT batch_id, split_from, image_count, strikes FROM ledger.batches ORDER BY batch_id",
    )
    assert found == [(first.batch_id, None, 2, 0), (second.batch_id, first.batch_id, 3, 0)]
    assert _identity(engine) == (5, 0, 0, 0, 5)
    model = add_model(engine)
    every = [
        judged(held, image, content_of(n), {model: 0.9}) for n, image in enumerate(whole.images)
    ]
    assert not store(engine, held, every), "who held the whole batch can store nothing any more"
    with engine.begin() as connection:
        assert claim_batch(connection, whole.batch_id, WORKER, 60, attempt=whole.attempt) is None


def test_halves_go_down_to_the_one_image_and_its_neighbours_are_classified(engine: Engine) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, URIS)
    end(engine, scan_id)
    model = add_model(engine)
    kills = 0
    while messages := _take_any(engine):
        for message in messages:
            held = claimed(engine, message.batch_id)
            if URIS[3] in {image.uri for image in message.images}:
                kills += 1
                _expire(engine)
                continue
            outcomes = [
                judged(held, image, content_of(image.image_id), {model: 0.9})
                for image in message.images
            ]
            assert store(engine, held, outcomes)
        _identity(engine)
    among_others, alone_of_five_three_two, alone_of_one = 2, 3, 2
    assert kills == among_others + alone_of_five_three_two + alone_of_one
    assert _identity(engine) == (5, 4, 0, 1, 0)
    [failure] = rows(engine, "SELECT uri, code, message FROM failures")
    assert (failure["uri"], failure["code"]) == (URIS[3], "killed_worker")
    assert "2 workers" in failure["message"]
    assert value(engine, "SELECT state FROM scan_progress") == "finished"


def test_an_image_that_failed_while_it_was_listed_stays_with_its_half(engine: Engine) -> None:
    scan_id = ask(engine)
    unreadable = listed(["manifest#line-1"])[0]
    with engine.begin() as connection:
        record_batch(
            connection, scan_id, 0, [unreadable._replace(unreadable="no URI"), *listed(URIS)]
        )
    for _ in range(3):
        _kill(engine)
    counts = tuples(
        engine, "SELECT image_count, failed_count FROM ledger.batches ORDER BY batch_id"
    )
    assert counts == [(3, 1), (3, 0)]
    assert _identity(engine) == (6, 0, 0, 1, 5)


@pytest.mark.parametrize("strikes", [0, 1])
def test_a_batch_handed_back_in_order_is_no_strike(engine: Engine, strikes: int) -> None:
    record(engine, ask(engine), URIS[:1])
    for _ in range(2 + strikes):
        _kill(engine)
    [message] = take(engine, Lane.QUARANTINE)
    held = claimed(engine, message.batch_id)
    with engine.begin() as connection:
        release_batch(connection, held, WORKER)
        assert requeue_expired(connection).batches == 0
    assert value(engine, "SELECT strikes FROM ledger.batches") == strikes
