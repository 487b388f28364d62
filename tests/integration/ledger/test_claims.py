from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.ledger.batches.leases import (
    Claim,
    claim_batch,
    release_all,
    release_batch,
    renew_leases,
)
from fakesweep.schema.ledger.batches.recovery import requeue_expired
from fakesweep.schema.ledger.registry.policies import rejudge
from fakesweep.schema.ledger.registry.processes import register_worker
from fakesweep.schema.message import BatchImage
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import (
    WORKER,
    add_model,
    ask,
    claim,
    claimed,
    content_of,
    judged,
    record,
    rows,
    run,
    store,
    take,
    take_one,
    value,
)
from tests.support.servers import wait_until

OTHER = uuid4()


def _batch(engine: Engine) -> int:
    record(engine, ask(engine, models=("tiny", "owner/other")), ["s3://photos/1"])
    return take_one(engine).batch_id


def _expire(engine: Engine) -> None:
    run(engine, "UPDATE ledger.batches SET lease_until = now() - interval '1 second'")


def _return(engine: Engine) -> None:
    """Expire leases, and requeue the batches."""
    _expire(engine)
    with engine.begin() as connection:
        requeue_expired(connection)


def _tables(engine: Engine) -> list[int]:
    names = ("contents", "predictions", "verdicts", "outcomes")
    return [value(engine, f"SELECT count(*) FROM ledger.{name}") for name in names]


def test_a_claim_says_what_to_do_and_how_to_judge(engine: Engine) -> None:
    batch_id = _batch(engine)
    assert claim(engine, batch_id) == Claim(
        batch_id, 1, 1, ("tiny", "owner/other"), 1, Policy("default", 0.2, 0.8)
    )


def test_a_batch_is_held_by_one_worker_at_a_time(engine: Engine) -> None:
    batch_id = _batch(engine)
    assert claim(engine, batch_id) is not None
    assert claim(engine, batch_id, OTHER) is None
    assert claim(engine, batch_id) is None


def test_of_workers_that_claim_at_the_same_moment_one_gets_the_batch(engine: Engine) -> None:
    batch_id = _batch(engine)
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda _: claim(engine, batch_id, uuid4()), range(24)))
    assert sum(one is not None for one in found) == 1


def test_a_batch_that_is_done_or_was_never_recorded_cannot_be_claimed(engine: Engine) -> None:
    model = add_model(engine)
    batch_id = _batch(engine)
    held = claimed(engine, batch_id)
    image = _image(engine)
    assert store(engine, held, [judged(held, image, content_of(1), {model: 0.9})])
    assert claim(engine, batch_id) is None
    _expire(engine)
    assert claim(engine, batch_id, OTHER) is None
    assert claim(engine, 2**62) is None


def test_an_old_message_of_a_batch_that_waits_again_may_be_worked_on(engine: Engine) -> None:
    record(engine, ask(engine), ["s3://photos/1"])
    (row,) = rows(engine, "SELECT batch_id, state FROM ledger.batches")
    assert row["state"] == "recorded"
    assert claim(engine, row["batch_id"]) is not None
    assert take(engine) == []


def test_a_worker_that_lost_its_lease_writes_nothing(engine: Engine) -> None:
    model = add_model(engine)
    batch_id = _batch(engine)
    first = claimed(engine, batch_id)
    _expire(engine)
    assert claim(engine, batch_id, OTHER) is None, "the ledger hands it back first"
    _return(engine)
    second = claimed(engine, batch_id, OTHER)
    assert second.attempt == first.attempt + 1
    outcome = judged(first, _image(engine), content_of(1), {model: 0.9})
    assert not store(engine, first, [outcome])
    assert _tables(engine) == [0, 0, 0, 0]
    assert store(engine, second, [outcome], OTHER)
    assert _tables(engine) == [1, 1, 1, 1]
    assert not store(engine, second, [outcome], OTHER)
    assert _tables(engine) == [1, 1, 1, 1]


def test_the_same_worker_cannot_store_what_it_claimed_before(engine: Engine) -> None:
    model = add_model(engine)
    batch_id = _batch(engine)
    first = claimed(engine, batch_id)
    _return(engine)
    claimed(engine, batch_id)
    assert not store(engine, first, [judged(first, _image(engine), content_of(1), {model: 0.9})])
    assert _tables(engine) == [0, 0, 0, 0]


def test_a_late_worker_whose_batch_nobody_took_still_stores(engine: Engine) -> None:
    model = add_model(engine)
    held = claimed(engine, _batch(engine))
    _return(engine)
    assert take_one(engine).batch_id == held.batch_id
    assert store(engine, held, [judged(held, _image(engine), content_of(1), {model: 0.9})])


def test_renewing_keeps_the_batches_of_this_worker_and_shows_that_it_lives(engine: Engine) -> None:
    with engine.begin() as connection:
        register_worker(connection, WORKER, hostname="h", pid=1, device="cpu", version="1")
    run(engine, "UPDATE ledger.workers SET seen_at = now() - interval '1 hour'")
    mine = _batch(engine)
    claimed(engine, mine)
    record(engine, ask(engine), ["s3://photos/1"])
    theirs = take_one(engine).batch_id
    claimed(engine, theirs, OTHER)
    _expire(engine)
    with engine.begin() as connection:
        assert renew_leases(connection, {mine: 1, theirs: 1}, WORKER, 60.0) == 1
    _return_only_expired(engine, theirs)
    assert value(engine, "SELECT now() - seen_at < interval '1 minute' FROM ledger.workers")
    with engine.begin() as connection:
        assert renew_leases(connection, {}, WORKER, 60.0) == 0


def _return_only_expired(engine: Engine, batch_id: int) -> None:
    with engine.begin() as connection:
        assert requeue_expired(connection).batches == 1
    (row,) = rows(engine, "SELECT batch_id FROM ledger.batches WHERE state = 'recorded'")
    assert row["batch_id"] == batch_id


def test_renewing_takes_back_what_ran_out_while_the_ledger_was_away(engine: Engine) -> None:
    model = add_model(engine)
    held = claimed(engine, _batch(engine))
    _return(engine)
    again = take_one(engine)
    with engine.begin() as connection:
        assert renew_leases(connection, {held.batch_id: held.attempt}, WORKER, 60.0) == 1
    assert claim(engine, again.batch_id, OTHER) is None
    assert store(engine, held, [judged(held, _image(engine), content_of(1), {model: 0.9})])


def test_renewing_takes_nothing_back_that_somebody_took_up_since(engine: Engine) -> None:
    held = claimed(engine, _batch(engine))
    _return(engine)
    claimed(engine, held.batch_id)
    with engine.begin() as connection:
        assert renew_leases(connection, {held.batch_id: held.attempt}, WORKER, 60.0) == 0


def test_a_message_of_an_earlier_attempt_or_another_lane_is_passed_over(engine: Engine) -> None:
    batch_id = _batch(engine)
    with engine.begin() as connection:
        for told in (
            {"attempt": 1, "lane": Lane.BULK},
            {"attempt": 0, "lane": Lane.QUARANTINE},
            {"attempt": None, "lane": Lane.LIVE},
        ):
            assert claim_batch(connection, batch_id, WORKER, 60.0, **told) is None
        assert claim_batch(connection, batch_id, WORKER, 60.0, attempt=0, lane=Lane.BULK)


def test_a_leaving_worker_hands_back_all_it_has_and_nothing_else(engine: Engine) -> None:
    mine = [_batch(engine), _batch(engine)]
    theirs = _batch(engine)
    for batch_id in mine:
        claimed(engine, batch_id)
    claimed(engine, theirs, OTHER)
    with engine.begin() as connection:
        assert release_all(connection, WORKER) == 2
        assert requeue_expired(connection).batches == 0
    assert [message.batch_id for message in take(engine)] == mine
    assert value(engine, "SELECT sum(expiries) FROM ledger.batches") == 0


@pytest.mark.parametrize("halt", ["paused_at", "cancelled_at"])
def test_a_batch_released_in_a_halted_scan_is_held(engine: Engine, halt: str) -> None:
    held = claimed(engine, _batch(engine))
    expired = claimed(engine, _batch(engine), OTHER)
    run(engine, f"UPDATE ledger.scans SET {halt} = now()")
    with engine.begin() as connection:
        release_batch(connection, held, WORKER)
    _return(engine)
    assert value(engine, "SELECT count(*) FROM ledger.batches WHERE state = 'held'") == 2
    assert take(engine) == []
    assert claim(engine, held.batch_id) is claim(engine, expired.batch_id) is None


def test_a_released_batch_is_published_again_and_the_claim_is_gone(engine: Engine) -> None:
    model = add_model(engine)
    batch_id = _batch(engine)
    held = claimed(engine, batch_id)
    with engine.begin() as connection:
        release_batch(connection, held, OTHER)
    assert take(engine) == []
    with engine.begin() as connection:
        release_batch(connection, held, WORKER)
    assert not store(engine, held, [judged(held, _image(engine), content_of(1), {model: 0.9})])
    assert take_one(engine).batch_id == batch_id
    assert claimed(engine, batch_id, OTHER).attempt == 2


def test_a_batch_is_judged_by_the_policy_its_scan_has_when_it_is_claimed(engine: Engine) -> None:
    batch_id = _batch(engine)
    with engine.begin() as connection:
        rejudge(connection, 1, "card")
    assert claimed(engine, batch_id).policy == Policy("card", 0.5, 0.5)


def test_a_claim_waits_for_the_store_that_finishes_the_batch(engine: Engine) -> None:
    batch_id = _batch(engine)
    claimed(engine, batch_id)
    _return(engine)
    with ThreadPoolExecutor(1) as thread:
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE ledger.batches SET state = 'done', failed_count = image_count"
            )
            waiting = thread.submit(claim, engine, batch_id, OTHER)
            wait_until(
                lambda: bool(value(engine, "SELECT count(*) FROM pg_locks WHERE NOT granted")),
                "the claim waits",
            )
        assert waiting.result() is None


def _image(engine: Engine) -> BatchImage:
    (row,) = rows(engine, "SELECT image_id, uri FROM ledger.images")
    return BatchImage(row["image_id"], row["uri"])
