"""Rights of each role on webhooks and deliveries."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, make_url
from sqlalchemy.exc import DBAPIError

from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.registry.policies import rejudge
from fakesweep.schema.ledger.webhooks import webhooks
from fakesweep.schema.ledger.webhooks.deliveries import Delivery, delete_delivered, pause_gone
from fakesweep.schema.words import Lane
from tests.integration.ledger.deliveries import add, fail, take_all
from tests.integration.ledger.rows import (
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
from tests.support.users import drop_users

_TOLD = "webhook_id, image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict"


@pytest.fixture
def users(engine: Engine, database_url: str) -> Iterator[dict[str, Engine]]:
    """Users of each role, by the role's last word."""
    words = ("analyst", "worker", "producer")
    with engine.begin() as connection:
        for word in words:
            connection.exec_driver_sql(f"DROP USER IF EXISTS told_{word}")
            connection.exec_driver_sql(f"CREATE USER told_{word} IN ROLE fakesweep_{word}")
    found = {
        word: open_engine(
            make_url(database_url).set(username=f"told_{word}").render_as_string(False), "tests"
        )
        for word in words
    }
    yield found
    for one in found.values():
        one.dispose()
    drop_users(engine, *(f"told_{word}" for word in words))


def test_each_side_does_its_part_by_the_rights_of_its_role(
    engine: Engine, users: dict[str, Engine], model: int
) -> None:
    producer, worker = users["producer"], users["worker"]
    add(producer, models=["tiny"], lanes=[Lane.BULK])
    record(engine, ask(engine), ["s3://photos/a"])
    message = take_one(engine)
    held = claimed(worker, message.batch_id)
    assert store(worker, held, [judged(held, message.images[0], content_of(1), {model: 0.9})])
    [taken] = take_all(producer)
    fail(producer, taken, None)
    with producer.begin() as connection:
        assert webhooks.dead_deliveries(connection, None, 5)[1] == 1
        webhooks.retry_delivery(connection, taken.delivery_id)
        assert webhooks.pause_webhook(connection, "moderation")
        assert webhooks.resume_webhook(connection, "moderation")
        pause_gone(connection, [taken.webhook_id])
        assert rejudge(connection, message.scan_id, "card") == 0
        run(engine, "SELECT set_policy('mild', 0.95, 0.99)")
        assert rejudge(connection, message.scan_id, "mild") == 1
        assert len(webhooks.list_webhooks(connection)) == 1
        webhooks.remove_webhook(connection, "moderation")
        assert delete_delivered(connection, 30) == 2


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("worker", "SELECT secret FROM ledger.webhooks"),
        ("worker", "SELECT url FROM ledger.webhooks"),
        ("worker", "SELECT * FROM ledger.webhooks"),
        ("worker", "SELECT webhook_id, verdicts, models, lanes, removed_at FROM ledger.webhooks"),
        (
            "worker",
            f"INSERT INTO ledger.webhook_deliveries ({_TOLD}) VALUES (1, 1, 1, 1, 1, 1, 1, 'fake')",
        ),
        (
            "producer",
            f"INSERT INTO ledger.webhook_deliveries ({_TOLD}) VALUES (1, 1, 1, 1, 1, 1, 1, 'fake')",
        ),
        ("worker", "SELECT ledger.tell_of_verdicts()"),
        ("worker", "ALTER TABLE ledger.verdicts DISABLE TRIGGER verdicts_told"),
        ("worker", "UPDATE ledger.webhooks SET verdicts = '{}'"),
        ("worker", "INSERT INTO ledger.webhooks (name, url, secret) VALUES ('a', 'a', 'a')"),
        ("worker", "DELETE FROM ledger.webhooks"),
        ("worker", "SELECT * FROM ledger.webhook_deliveries"),
        ("worker", "SELECT * FROM public.webhook_deliveries"),
        ("worker", "UPDATE ledger.webhook_deliveries SET delivered_at = now()"),
        ("worker", "DELETE FROM ledger.webhook_deliveries"),
        ("worker", "INSERT INTO ledger.webhook_deliveries (delivered_at) VALUES (now())"),
        ("analyst", "SELECT name FROM ledger.webhooks"),
        ("analyst", "SELECT delivery_id FROM ledger.webhook_deliveries"),
        ("analyst", "UPDATE ledger.webhook_deliveries SET attempts = 0"),
        ("producer", "DELETE FROM ledger.webhooks"),
        ("producer", "UPDATE ledger.webhooks SET url = 'http://elsewhere'"),
        ("producer", "UPDATE ledger.webhook_deliveries SET verdict = 'real'"),
    ],
)
def test_a_statement_on_webhooks_beyond_a_roles_rights_is_refused(
    users: dict[str, Engine], role: str, statement: str
) -> None:
    with users[role].connect() as connection, pytest.raises(DBAPIError) as refused:
        connection.exec_driver_sql(statement)
    assert getattr(refused.value.orig, "pgcode", None) == "42501"


def test_an_analyst_sees_what_was_told_and_neither_where_nor_by_which_secret(
    users: dict[str, Engine], due: Delivery
) -> None:
    [row] = tuples(users["analyst"], "SELECT * FROM webhook_deliveries")
    assert f"msg_{due.message_id.hex}" in row
    assert "hush" not in str(row)
    assert "example.org" not in str(row)


@pytest.mark.parametrize(
    "invented",
    [
        "1, {own}, 1, 1, 1, 0.1, 'fake'",  # by a model of its own, with a score that says real
        "1, {own}, 1, {content}, 1, 0.99, 'fake'",  # with an invented score
        "1, {own}, 2, {content}, 1, 0.99, 'fake'",  # as if it were of another scan
        "2, {own}, 2, {content}, 1, 0.99, 'fake'",  # pending, by a model that the scan lacks
        "2, 1, 1, {content}, 1, 0.99, 'fake'",  # pending, as if it were of another scan
        "2, 1, 2, 1, 1, 0.1, 'fake'",  # pending, against its score
        "2, 1, 2, {content}, 1, 0.1, 'fake'",  # pending, by a score that no model gave
        "77, 1, 2, {content}, 1, 0.99, 'fake'",  # an image that does not exist
    ],
)
def test_a_worker_cannot_have_anything_told_of_an_image_that_has_its_verdict(
    engine: Engine, users: dict[str, Engine], model: int, invented: str
) -> None:
    """Image 1 is held as real; image 2 is pending, in a scan of its own."""
    add(engine)
    scan(engine, {"s3://photos/real": {model: 0.1}})
    record(engine, ask(engine), ["s3://photos/pending"])
    worker = users["worker"]
    own = add_model(worker, "mine")
    run(worker, "INSERT INTO ledger.contents (sha256, size_bytes) VALUES (sha256('x'), 1)")
    content = value(worker, "SELECT max(content_id) FROM ledger.contents")
    for by in (own, model):
        run(
            worker,
            "INSERT INTO ledger.predictions (content_id, model_id, scores, p_fake, kind) "
            "VALUES (:content, :by, '{0.01,0.99}', 0.99, 'unknown')",
            content=content,
            by=by,
        )
    run(
        worker,
        "INSERT INTO ledger.verdicts "
        "(image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict) "
        f"VALUES ({invented.format(own=own, content=content)})",
    )
    assert tuples(engine, "SELECT * FROM ledger.webhook_deliveries") == []
