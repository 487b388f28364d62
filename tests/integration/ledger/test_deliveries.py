"""Deliveries: leases, retries, dead ones and deletion."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from fakesweep.schema.errors import WebhookError
from fakesweep.schema.ledger.webhooks import deliveries, webhooks
from fakesweep.schema.ledger.webhooks.deliveries import Delivery, delete_delivered, take_due
from fakesweep.schema.words import VerdictWord
from tests.integration.ledger.deliveries import (
    FAKE,
    add,
    deliver,
    fail,
    scan_scores,
    state_of,
    take_all,
    told,
)
from tests.integration.ledger.rows import run, scan, tuples, value


def test_a_leased_delivery_is_not_taken_until_its_lease_expires(engine: Engine, model: int) -> None:
    add(engine)
    scan_scores(engine, model)
    with engine.begin() as connection:
        first = take_due(connection, uuid4(), 60.0, 1, {})
        second = take_all(engine)  # while the first is not committed
    assert {one.delivery_id for one in [*first, *second]} == {1, 2}
    assert take_all(engine) == []
    assert {state_of(engine, one) for one in first} == {"sending"}
    run(
        engine, "UPDATE ledger.webhook_deliveries SET next_attempt_at = now() WHERE delivery_id = 1"
    )
    [again] = take_all(engine)
    assert (again.delivery_id, again.message_id) == (1, [*first, *second][0].message_id)


def test_many_takers_share_what_is_due(engine: Engine, model: int) -> None:
    add(engine)
    scan(engine, {f"s3://photos/{number}": {model: 0.9} for number in range(60)})
    with ThreadPoolExecutor(6) as threads:
        taken = [
            one.delivery_id
            for found in threads.map(lambda _: take_all(engine, at_once=10), range(12))
            for one in found
        ]
    assert sorted(taken) == list(range(1, 61))


def test_each_webhook_gets_its_share_however_much_waits_for_another(
    engine: Engine, model: int
) -> None:
    first, second, third = (add(engine, name) for name in ("first", "second", "third"))
    scan(engine, {f"s3://photos/{number}": {model: 0.9} for number in range(9)})
    taken = take_all(engine, at_once=4, **{f"webhook_{second}": 2, f"webhook_{third}": 0})
    assert sorted(one.webhook_id for one in taken) == [first] * 4 + [second] * 2


def test_a_failure_is_due_again_after_its_pause_and_the_last_one_is_dead(
    engine: Engine, due: Delivery
) -> None:
    fail(engine, due, 3_600.0)
    assert state_of(engine, due) == "waiting"
    assert take_all(engine) == []
    fail(engine, due, 0.0)  # its lease is over: nothing changes
    assert take_all(engine) == []
    run(engine, "UPDATE ledger.webhook_deliveries SET next_attempt_at = now()")
    [again] = take_all(engine)
    assert again.attempts == 1
    fail(engine, again, None)
    assert state_of(engine, due) == "dead"
    assert take_all(engine) == []
    with engine.begin() as connection:
        [dead], count = webhooks.dead_deliveries(connection, "moderation", 10)
    assert (dead.attempts, dead.last_status, count) == (2, 500, 1)
    assert (dead.uri, dead.last_error) == ("s3://photos/fake", "500 Internal Server Error")


def test_a_sender_that_lost_its_lease_can_still_deliver_but_not_fail(
    engine: Engine, due: Delivery
) -> None:
    run(engine, "UPDATE ledger.webhook_deliveries SET next_attempt_at = now()")
    [second] = take_all(engine)
    fail(engine, due, None)
    assert state_of(engine, due) == "sending"
    deliver(engine, due)
    fail(engine, second, None)
    deliver(engine, second)
    assert state_of(engine, due) == "delivered"
    assert value(engine, "SELECT attempts FROM webhook_deliveries") == 1


def test_dead_deliveries_are_tried_again_one_by_one_or_all(engine: Engine, model: int) -> None:
    add(engine)
    scan_scores(engine, model)
    taken = take_all(engine)
    for one in taken:
        fail(engine, one, None)
    with engine.begin() as connection:
        webhooks.retry_delivery(connection, taken[0].delivery_id)
        assert webhooks.dead_deliveries(connection, None, 1)[1] == 1
    [again] = take_all(engine)
    assert (again.delivery_id, again.message_id, again.attempts) == (
        taken[0].delivery_id, taken[0].message_id, 0,
    )  # fmt: skip
    with engine.begin() as connection:
        with pytest.raises(WebhookError, match="is not dead but sending"):
            webhooks.retry_delivery(connection, again.delivery_id)
        with pytest.raises(WebhookError, match="there is no delivery 77"):
            webhooks.retry_delivery(connection, 77)
        assert webhooks.retry_dead(connection, "moderation") == 1
        assert webhooks.retry_dead(connection, "moderation") == 0
    assert [one.delivery_id for one in take_all(engine)] == [taken[1].delivery_id]


def test_only_old_deliveries_are_deleted(engine: Engine, model: int) -> None:
    add(engine, verdicts=list(VerdictWord))
    scan_scores(engine, model)
    scan_scores(engine, model)
    old, new, dead, *_ = take_all(engine)
    deliver(engine, old, new)
    fail(engine, dead, None)
    run(
        engine,
        "UPDATE ledger.webhook_deliveries SET created_at = now() - interval '99 days', "
        "next_attempt_at = now() - interval '99 days', dead_at = dead_at - interval '99 days', "
        "delivered_at = delivered_at - interval '30 days' * (delivery_id = :old)::int",
        old=old.delivery_id,
    )
    with engine.begin() as connection:
        assert delete_delivered(connection, 29.5) == 1
        assert delete_delivered(connection, 29.5) == 0
    assert len(told(engine)) == 5
    with engine.begin() as connection:
        webhooks.remove_webhook(connection, "moderation")
        assert [delete_delivered(connection, 29.5, at_most=2) for _ in range(3)] == [3, 1, 0]
    assert {row[0] for row in tuples(engine, "SELECT state FROM webhook_deliveries")} == {
        "delivered"
    }


def test_a_delivery_of_deleted_rows_is_marked_forgotten(engine: Engine, model: int) -> None:
    add(engine, verdicts=[FAKE])
    scan_scores(engine, model)
    run(engine, "DELETE FROM ledger.images")
    [taken] = take_all(engine)
    assert taken.is_forgotten
    assert value(engine, "SELECT uri IS NULL FROM webhook_deliveries")


def test_taking_looks_at_what_is_due_and_at_no_whole_table(engine: Engine, model: int) -> None:
    add(engine, verdicts=[FAKE])
    run(
        engine,
        "INSERT INTO ledger.webhook_deliveries (webhook_id, image_id, model_id, scan_id, "
        "content_id, policy_id, p_fake, verdict, delivered_at) "
        "SELECT 1, n, :m, 1, n, 1, 0.9, 'fake', CASE WHEN n > 1000 THEN now() END "
        "FROM generate_series(1, 20000) AS n",
        m=model,
    )
    run(engine, "ANALYZE ledger.webhook_deliveries")
    asked = {"lease": uuid4(), "lease_seconds": 60, "at_once": 8, "webhook_ids": [], "free": []}
    with engine.connect() as connection:
        plan = connection.execute(text(f"EXPLAIN {deliveries._TAKE.text}"), asked).scalars()
        read = [line for line in plan if "on webhook_deliveries" in line and "Scan" in line]
    assert len(read) == 2
    assert all("Index Scan" in line for line in read)
