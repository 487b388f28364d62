"""Workers and producers of the former version, beside current ones on a current ledger."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest
from alembic import command
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.ledger.batches.leases import Claim, claim_batch, renew_leases
from fakesweep.schema.ledger.batches.outcomes import Outcome, store_outcomes
from fakesweep.schema.ledger.batches.recovery import requeue_expired, requeue_lost
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.message import BatchImage, BatchMessage, UnreadableMessage, read_message
from fakesweep.schema.migrations import alembic_config, upgrade
from fakesweep.schema.queues import QUEUES
from fakesweep.schema.words import Lane
from tests.integration.ledger import version_before as before
from tests.integration.ledger.rows import (
    add_model,
    ask,
    content_of,
    end,
    judged,
    record,
    run,
    take,
    take_one,
    tuples,
    value,
)

OLD, NEW = uuid4(), uuid4()
URIS = [f"s3://photos/{number}" for number in range(1, 6)]


@pytest.fixture
def model(engine: Engine) -> int:
    return add_model(engine)


def _old_claim(engine: Engine, batch_id: int) -> Any:
    with engine.begin() as connection:
        return before.claim(connection, batch_id, OLD)


def _old_renews(engine: Engine, batch_id: int) -> int:
    with engine.begin() as connection:
        return before.renew(connection, batch_id, OLD)


def _old_stores(engine: Engine, held: Any, outcomes: Sequence[Outcome]) -> bool:
    with engine.begin() as connection:
        return before.store(connection, held, OLD, outcomes)


def _old_takes(engine: Engine) -> list[dict[str, Any]]:
    with engine.begin() as connection:
        return [message for lane in before.Lane for message in before.take(connection, lane)]


def _claim(engine: Engine, message: BatchMessage) -> Claim | None:
    with engine.begin() as connection:
        return claim_batch(
            connection, message.batch_id, NEW, 60.0, lane=message.lane, attempt=message.attempt
        )


def _renews(engine: Engine, held: Claim) -> int:
    with engine.begin() as connection:
        return renew_leases(connection, {held.batch_id: held.attempt}, NEW, 60.0)


def _stores(engine: Engine, held: Claim, outcomes: Sequence[Outcome]) -> bool:
    with engine.begin() as connection:
        return store_outcomes(connection, held, NEW, outcomes)


def _as_ours(message: before.Message) -> BatchMessage:
    images = tuple(BatchImage(*image) for image in message.images)
    return BatchMessage(message.batch_id, message.scan_id, Lane(message.lane), images)


def _outcomes(message: BatchMessage | before.Message, model: int) -> list[Outcome]:
    """Return a worker's outcomes, of either version: each image has a content of its own."""
    ours = _as_ours(message) if isinstance(message, before.Message) else message
    claim = Claim(ours.batch_id, ours.scan_id, 1, ("tiny",), 1, Policy("default", 0.2, 0.8))
    return [judged(claim, image, content_of(image.uri), {model: 0.9}) for image in ours.images]


def _expire(engine: Engine) -> None:
    run(engine, "UPDATE ledger.batches SET lease_until = now() - interval '1 second'")


def _return_expired(engine: Engine) -> int:
    _expire(engine)
    with engine.begin() as connection:
        return requeue_expired(connection).batches


def _old_return_expired(engine: Engine) -> int:
    _expire(engine)
    with engine.begin() as connection:
        return connection.execute(before.RETURN_EXPIRED).rowcount


def _recorded(engine: Engine, uris: Sequence[str] = URIS, **asked: Any) -> int:
    scan_id = ask(engine, **asked)
    record(engine, scan_id, uris)
    end(engine, scan_id)
    return scan_id


def _check_finished(engine: Engine, images: int) -> None:
    [row] = tuples(
        engine,
        "SELECT state, submitted, classified, pending FROM scan_progress",
    )
    assert row == ("finished", images, images, 0)
    for table in ("outcomes", "verdicts", "predictions"):
        assert value(engine, f"SELECT count(*) FROM ledger.{table}") == images


def test_an_older_worker_works_on_what_our_producer_published(engine: Engine, model: int) -> None:
    _recorded(engine)
    message = before.read_message(take_one(engine).to_json())
    held = _old_claim(engine, message.batch_id)
    assert _old_renews(engine, message.batch_id) == 1
    assert _old_stores(engine, held, _outcomes(message, model))
    assert not _old_stores(engine, held, _outcomes(message, model))
    _check_finished(engine, 5)


def test_our_worker_works_on_what_an_older_producer_published(engine: Engine, model: int) -> None:
    _recorded(engine)
    [body] = _old_takes(engine)
    assert "attempt" not in body
    message = read_message(body)
    held = _claim(engine, message)
    assert held is not None
    assert _renews(engine, held) == 1
    assert _stores(engine, held, _outcomes(message, model))
    assert not _stores(engine, held, _outcomes(message, model))
    _check_finished(engine, 5)


def test_of_an_older_worker_and_ours_one_gets_a_batch(engine: Engine) -> None:
    _recorded(engine)
    message = take_one(engine)
    assert _old_claim(engine, message.batch_id) is not None
    assert _claim(engine, message) is None
    _return_expired(engine)
    again = take_one(engine)
    assert _claim(engine, again) is not None
    assert _old_claim(engine, message.batch_id) is None


def test_an_older_worker_that_lost_its_batch_to_ours_writes_nothing(
    engine: Engine, model: int
) -> None:
    _recorded(engine)
    message = take_one(engine)
    lost = _old_claim(engine, message.batch_id)
    assert _return_expired(engine) == 1
    held = _claim(engine, take_one(engine))
    assert held is not None
    assert _old_renews(engine, message.batch_id) == 0
    assert not _old_stores(engine, lost, _outcomes(message, model))
    assert _stores(engine, held, _outcomes(message, model))
    _check_finished(engine, 5)


@pytest.mark.parametrize("is_returned", [True, False])
def test_our_worker_that_lost_its_batch_to_an_older_one_writes_nothing(
    engine: Engine, model: int, *, is_returned: bool
) -> None:
    _recorded(engine)
    message = take_one(engine)
    lost = _claim(engine, message)
    assert lost is not None
    if is_returned:
        assert _old_return_expired(engine) == 1
    else:  # it claims expired batches without a producer
        _expire(engine)
    held = _old_claim(engine, message.batch_id)
    assert _renews(engine, lost) == 0
    assert not _stores(engine, lost, _outcomes(message, model))
    assert _old_stores(engine, held, _outcomes(message, model))
    _check_finished(engine, 5)


def test_our_worker_takes_back_what_an_older_producer_returned(engine: Engine, model: int) -> None:
    _recorded(engine)
    message = take_one(engine)
    held = _claim(engine, message)
    assert held is not None
    assert _old_return_expired(engine) == 1
    [again] = _old_takes(engine)
    assert _renews(engine, held) == 1
    assert _old_claim(engine, again["batch_id"]) is None
    assert _stores(engine, held, _outcomes(message, model))
    _check_finished(engine, 5)


def test_what_an_older_worker_hands_back_ours_takes_up(engine: Engine, model: int) -> None:
    _recorded(engine)
    held = _old_claim(engine, take_one(engine).batch_id)
    with engine.begin() as connection:
        before.release(connection, held, OLD)
    message = take_one(engine)
    assert message.attempt == 1
    ours = _claim(engine, message)
    assert ours is not None
    assert _stores(engine, ours, _outcomes(message, model))
    _check_finished(engine, 5)


def test_what_either_producer_takes_for_lost_is_worked_on_once(engine: Engine, model: int) -> None:
    _recorded(engine)
    first = take_one(engine)
    run(engine, "UPDATE ledger.batches SET published_at = now() - interval '1 hour'")
    with engine.begin() as connection:
        told = {"lane": "bulk", "older_than_seconds": 30.0}
        assert connection.execute(before.RETURN_LOST, told).rowcount == 1
    [second] = _old_takes(engine)
    run(engine, "UPDATE ledger.batches SET published_at = now() - interval '1 hour'")
    with engine.begin() as connection:
        assert requeue_lost(connection, Lane.BULK, [], 30.0) == 1
    third = take_one(engine)
    held = _claim(engine, read_message(second))
    assert held is not None
    assert _claim(engine, first) is None
    assert _claim(engine, third) is None
    assert _old_claim(engine, first.batch_id) is None
    assert _stores(engine, held, _outcomes(third, model))
    _check_finished(engine, 5)


def test_an_older_worker_and_producer_never_meet_a_batch_in_quarantine(engine: Engine) -> None:
    _recorded(engine)
    for _ in range(2):
        [message] = take(engine)
        assert _old_claim(engine, message.batch_id) is not None
        _return_expired(engine)
    assert _old_takes(engine) == []
    [message] = take(engine, Lane.QUARANTINE)
    assert message.lane.value in QUEUES
    assert message.lane.value not in list(before.Lane), "its workers listen to no such queue"
    with pytest.raises(before.UnreadableMessage, match="quarantine"):
        before.read_message(message.to_json())


def test_an_older_worker_and_producer_never_get_what_is_held(engine: Engine) -> None:
    _recorded(engine)
    message = take_one(engine)
    run(engine, "UPDATE ledger.batches SET state = 'held'")
    assert _old_takes(engine) == []
    assert _old_claim(engine, message.batch_id) is None
    with engine.begin() as connection:
        assert connection.execute(before.RETURN_EXPIRED).rowcount == 0


def test_an_older_worker_writes_nothing_by_an_old_message_of_a_batch_cut_in_halves(
    engine: Engine, model: int
) -> None:
    _recorded(engine)
    whole = before.read_message(take_one(engine).to_json())
    assert _old_claim(engine, whole.batch_id) is not None
    for lane in (Lane.BULK, Lane.QUARANTINE):
        assert _return_expired(engine) == 1
        [message] = take(engine, lane)
        assert _claim(engine, message) is not None
    assert _return_expired(engine) == 1
    stale = _old_claim(engine, whole.batch_id)
    with pytest.raises(IntegrityError, match="batches_check"):
        _old_stores(engine, stale, _outcomes(whole, model))
    _return_expired(engine)
    for half in take(engine, Lane.QUARANTINE):
        held = _claim(engine, half)
        assert held is not None
        assert _stores(engine, held, _outcomes(half, model))
    _check_finished(engine, 5)


def test_each_version_reads_the_others_message_and_neither_one_of_another_version() -> None:
    ours = BatchMessage(7, 3, Lane.BULK, (BatchImage(70, "s3://b/k"),), attempt=4).to_json()
    theirs = {name: part for name, part in ours.items() if name != "attempt"}
    assert before.read_message(ours) == before.Message(7, 3, before.Lane.BULK, ((70, "s3://b/k"),))
    assert before.read_message(theirs) == before.read_message(ours)
    assert read_message(theirs).attempt is None
    with pytest.raises(before.UnreadableMessage):
        before.read_message(ours | {"version": 2})
    with pytest.raises(UnreadableMessage):
        read_message(ours | {"version": 2})


@pytest.fixture
def at_0002(empty_database_url: str) -> Iterator[Engine]:
    """A database at the former version's migration, with an empty scan."""
    engine = open_engine(empty_database_url, "tests", pool_size=4)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0002")
        connection.exec_driver_sql(
            "INSERT INTO ledger.scans (lane, policy_id, model_keys, listed_at) "
            "VALUES ('bulk', 1, '{tiny}', now())"
        )
    yield engine
    engine.dispose()


def _old_records(engine: Engine, batches: int) -> None:
    for _ in range(batches):
        run(
            engine,
            """WITH added AS (
                   INSERT INTO ledger.batches (scan_id, lane, image_count) VALUES (1, 'bulk', 2)
                   RETURNING batch_id
               )
               INSERT INTO ledger.images (scan_id, batch_id, uri)
               SELECT 1, batch_id, format('s3://photos/%s-%s', batch_id, n)
               FROM added, generate_series(1, 2) AS n""",
        )


def test_what_a_database_of_the_version_before_holds_is_finished_after_the_upgrade(
    at_0002: Engine,
) -> None:
    _old_records(at_0002, 4)
    model = add_model(at_0002)
    done, in_work, left, waiting = map(before.read_message, _old_takes(at_0002))
    _old_records(at_0002, 1)
    held = _old_claim(at_0002, done.batch_id)
    assert _old_stores(at_0002, held, _outcomes(done, model))
    held = _old_claim(at_0002, in_work.batch_id)
    assert _old_claim(at_0002, left.batch_id) is not None
    run(at_0002, f"UPDATE ledger.batches SET lease_until = now() WHERE batch_id = {left.batch_id}")
    with at_0002.begin() as connection:
        upgrade(connection)
    assert _old_renews(at_0002, in_work.batch_id) == 1
    assert _old_stores(at_0002, held, _outcomes(in_work, model))
    at_0002.dispose()  # the new version's processes have sessions of their own
    with at_0002.begin() as connection:
        assert requeue_expired(connection).batches == 1
    for message in (*take(at_0002), _as_ours(waiting)):
        ours = _claim(at_0002, message)
        assert ours is not None
        assert _stores(at_0002, ours, _outcomes(message, model))
    _check_finished(at_0002, 10)
