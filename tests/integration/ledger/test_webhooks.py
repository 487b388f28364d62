"""Webhooks: the verdicts of each, and their control."""

from uuid import uuid4

import pytest
from sqlalchemy import Engine

from fakesweep.schema.errors import WebhookError
from fakesweep.schema.ledger.batches.outcomes import store_outcomes
from fakesweep.schema.ledger.registry.policies import rejudge
from fakesweep.schema.ledger.webhooks import webhooks
from fakesweep.schema.ledger.webhooks.deliveries import Delivery, pause_gone
from fakesweep.schema.words import Kind, Lane, VerdictWord
from tests.integration.ledger.deliveries import (
    FAKE,
    add,
    deliver,
    fail,
    scan_scores,
    take_all,
    told,
)
from tests.integration.ledger.rows import (
    WORKER,
    add_model,
    ask,
    claimed,
    content_of,
    judged,
    record,
    run,
    scan,
    store,
    take_one,
    tuples,
    value,
)


def test_a_webhook_is_told_of_the_verdicts_it_asks_for(engine: Engine, model: int) -> None:
    add(engine)
    add(engine, "everything", list(VerdictWord))
    scan_scores(engine, model)
    given = [("fake", "tiny", "verdict.given", "fake", None),
             ("real", "tiny", "verdict.given", "real", None),
             ("unsure", "tiny", "verdict.given", "uncertain", None)]  # fmt: skip
    assert told(engine) == [
        *(("everything", *row) for row in given),
        ("moderation", *given[0]),
        ("moderation", *given[2]),
    ]


def test_a_webhook_is_told_of_its_models_and_lanes_alone(engine: Engine, model: int) -> None:
    other = add_model(engine, "other")
    add(engine, "one-model", [FAKE], models=["other"])
    add(engine, "live", [FAKE], lanes=[Lane.LIVE])
    add(engine, "neither", [FAKE], lanes=[Lane.LIVE], models=["unheard-of"])
    scan_scores(engine, model, other, models=("tiny", "other"))
    assert [row[:3] for row in told(engine)] == [("one-model", "fake", "other")]
    run(engine, "DELETE FROM ledger.webhook_deliveries")
    scan_scores(engine, model, lane=Lane.LIVE)
    assert [row[:3] for row in told(engine)] == [("live", "fake", "tiny")]


def test_verdicts_and_deliveries_are_stored_together_or_not_at_all(
    engine: Engine, model: int
) -> None:
    add(engine)
    record(engine, ask(engine), ["s3://photos/a"])
    message = take_one(engine)
    held = claimed(engine, message.batch_id)
    outcomes = [judged(held, message.images[0], content_of("a"), {model: 0.9})]
    with engine.connect() as connection:
        assert store_outcomes(connection, held, WORKER, outcomes)
        connection.rollback()
    assert told(engine) == []
    assert store(engine, held, outcomes)
    assert len(told(engine)) == 1
    assert not store(engine, held, outcomes)  # again, as after a crash
    assert not store(engine, held, outcomes, uuid4())
    assert len(told(engine)) == 1


def test_the_verdict_that_was_stored_is_the_one_that_is_told(engine: Engine, model: int) -> None:
    """A content's first scores stand, whatever another worker stores later."""
    add(engine, verdicts=list(VerdictWord))
    scan(engine, {"s3://photos/a": {model: 0.95}})
    record(engine, ask(engine), ["s3://photos/b"])
    message = take_one(engine)
    held = claimed(engine, message.batch_id)
    content = content_of("s3://photos/a")
    store(
        engine, held, [judged(held, message.images[0], content, {model: 0.1}, kind=Kind.DEEPFAKE)]
    )
    rows = "SELECT verdict, p_fake, kind FROM {} ORDER BY image_id"
    assert tuples(engine, rows.format("ledger.webhook_deliveries")) == tuples(
        engine, rows.format("ledger.verdicts")
    )
    assert [row[4] for row in told(engine)] == ["fake", "fake"]


def test_the_secret_and_the_address_are_for_the_sender_alone(due: Delivery) -> None:
    assert (due.url, due.secret) == ("https://example.org/told?key=hush", "whsec_hush")
    assert (due.uri, due.model, due.model_revision) == ("s3://photos/fake", "tiny", "r1")
    assert (due.verdict, due.kind, due.p_fake, due.policy) == ("fake", "unknown", 0.9, "default")
    assert due.sha256 == content_of("s3://photos/fake").sha256.hex()
    assert not due.is_forgotten


def test_a_paused_webhook_is_told_later_and_a_removed_one_never(engine: Engine, model: int) -> None:
    add(engine, "paused")
    add(engine, "removed")
    with engine.begin() as connection:
        assert webhooks.pause_webhook(connection, "paused")
        assert not webhooks.pause_webhook(connection, "paused")
        webhooks.remove_webhook(connection, "removed")
    scan_scores(engine, model)
    assert {row[0] for row in told(engine)} == {"paused"}
    assert take_all(engine) == []
    with engine.begin() as connection:
        assert webhooks.resume_webhook(connection, "paused")
        assert not webhooks.resume_webhook(connection, "paused")
    assert len(take_all(engine)) == 2


def test_open_deliveries_of_a_removed_webhook_are_dropped_with_its_secret(
    engine: Engine, model: int
) -> None:
    add(engine)
    scan_scores(engine, model)
    with engine.begin() as connection:
        webhooks.remove_webhook(connection, "moderation")
    assert take_all(engine) == []
    assert value(engine, "SELECT secret FROM ledger.webhooks") == ""
    assert value(engine, "SELECT DISTINCT state FROM webhook_deliveries") == "removed"
    add(engine)  # the name is free again
    assert take_all(engine) == []


def test_a_resumed_webhook_is_told_at_once_what_waited_for_another_attempt(
    engine: Engine, due: Delivery
) -> None:
    fail(engine, due, 3_600.0)
    with engine.begin() as connection:
        webhooks.pause_webhook(connection, "moderation")
        webhooks.resume_webhook(connection, "moderation")
    assert [one.delivery_id for one in take_all(engine)] == [due.delivery_id]


@pytest.mark.parametrize("name", ["", "Moderation", "7", "7days", "a b", "a" * 64, "a\n", "-a"])
def test_an_invalid_webhook_name_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(WebhookError, match="cannot name a webhook"):
        add(engine, name)


def test_a_name_is_given_once(engine: Engine) -> None:
    add(engine)
    with pytest.raises(WebhookError, match=r"already; `fakesweep webhook remove moderation`"):
        add(engine)


def test_an_unknown_webhook_cannot_be_paused_resumed_or_removed(engine: Engine) -> None:
    for steer in (
        webhooks.pause_webhook, webhooks.resume_webhook, webhooks.remove_webhook,
        webhooks.retry_dead, lambda connection, name: webhooks.dead_deliveries(connection, name, 1),
    ):  # fmt: skip
        with engine.begin() as connection, pytest.raises(WebhookError, match="no webhook 'gone'"):
            steer(connection, "gone")


def test_a_rejudgement_is_delivered_for_the_old_verdict_and_the_new(
    engine: Engine, model: int
) -> None:
    for word in VerdictWord:
        add(engine, word.value, [word])
    scan_id = scan_scores(engine, model)
    before = value(engine, "SELECT max(delivery_id) FROM ledger.webhook_deliveries")
    with engine.begin() as connection:
        assert rejudge(connection, scan_id, "card") == 0  # 0.5 stays uncertain
        run(engine, "SELECT set_policy('strict', 0.05, 0.4)")
        assert rejudge(connection, scan_id, "strict") == 2
    changes = tuples(
        engine,
        "SELECT webhook, before, verdict, policy_id, p_fake FROM webhook_deliveries "
        "JOIN ledger.webhook_deliveries USING (delivery_id, before, verdict) "
        "WHERE delivery_id > :b AND type = 'verdict.changed' ORDER BY webhook, p_fake",
        b=before,
    )
    strict = value(engine, "SELECT max(policy_id) FROM ledger.policies")
    assert changes == [
        ("fake", "uncertain", "fake", strict, 0.5),
        ("real", "real", "uncertain", strict, 0.1),
        ("uncertain", "real", "uncertain", strict, 0.1),
        ("uncertain", "uncertain", "fake", strict, 0.5),
    ]
    with engine.begin() as connection:
        assert rejudge(connection, scan_id, "strict") == 0
    assert len(told(engine)) == 3 + 4


def test_judging_anew_keeps_to_models_and_lanes(engine: Engine, model: int) -> None:
    add(engine, "other-model", list(VerdictWord), models=["other"])
    add(engine, "live", list(VerdictWord), lanes=[Lane.LIVE])
    scan_id = scan_scores(engine, model)
    with engine.begin() as connection:
        run(engine, "SELECT set_policy('strict', 0.05, 0.4)")
        assert rejudge(connection, scan_id, "strict") == 2
    assert told(engine) == []


def test_a_receiver_that_is_gone_pauses_its_webhook_and_says_so(
    engine: Engine, due: Delivery
) -> None:
    with engine.begin() as connection:
        pause_gone(connection, [due.webhook_id])
        [report] = webhooks.list_webhooks(connection)
    assert report.paused_at is not None
    assert report.paused_because == "its receiver answered 410 Gone"
    assert (report.waiting, report.dead) == (1, 0)
    with engine.begin() as connection:
        webhooks.resume_webhook(connection, "moderation")
        [report] = webhooks.list_webhooks(connection)
    assert (report.paused_at, report.paused_because) == (None, None)


def test_a_list_says_what_waits_and_what_was_delivered(engine: Engine, model: int) -> None:
    add(engine, models=["tiny"], lanes=[Lane.BULK])
    scan_scores(engine, model)
    first, second = take_all(engine)
    deliver(engine, first)
    fail(engine, second, 60.0)
    scan_scores(engine, model)
    with engine.begin() as connection:
        [report] = webhooks.list_webhooks(connection)
    assert (report.verdicts, report.models, report.lanes) == (
        ("fake", "uncertain"), ("tiny",), ("bulk",),
    )  # fmt: skip
    assert (report.waiting, report.dead) == (3, 0)
    assert report.last_delivered_at is not None
    assert report.waiting_since is not None
    assert "hush" not in repr(report).replace(report.url, "")
