"""Webhook deliveries of verdicts to a real receiver."""

import re
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from tests.integration.deliveries import add, judge, wait_for_states
from tests.integration.ledger.rows import run, tuples, value
from tests.support.webhook_receiver import Receiver, Reply
from tests.support.webhook_sender import HASTY, delivering


def test_a_verdict_is_told_signed_whole_and_once(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    add(engine, receiver.url + "?key=hush")
    with delivering(database_url):
        judge(engine, 3)
        wait_for_states(engine, delivered=3)
    assert len(set(receiver.ids)) == len(receiver.told) == 3
    told = receiver.told[0]
    assert told.path == "/hook?key=hush"
    assert told.headers["content-type"] == "application/json"
    assert told.headers["user-agent"].startswith("fakesweep/")
    assert told.said["type"] == "verdict.given"
    stored = {row[0]: row for row in tuples(
        engine, "SELECT uri, image_id, scan_id, model, model_revision, verdict::text, kind::text, "
                "p_fake, policy, sha256 FROM verdicts"
    )}  # fmt: skip
    for one in receiver.told:
        names = ("uri", "image_id", "scan_id", "model", "model_revision", "verdict", "kind",
                 "p_fake", "policy", "sha256")  # fmt: skip
        assert tuple(one.verdict[name] for name in names) == stored[one.verdict["uri"]]


def test_a_changed_verdict_is_told_as_such(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    add(engine, receiver.url)
    judge(engine, 1, p_fake=0.5)
    run(engine, "SELECT set_policy('strict', 0.1, 0.4)")
    run(engine, "SELECT rejudge(1, 'strict')")
    with delivering(database_url):
        wait_for_states(engine, delivered=2)
    [changed] = [one for one in receiver.told if one.said["type"] == "verdict.changed"]
    assert (changed.verdict["before"], changed.verdict["verdict"]) == ("uncertain", "fake")
    assert (changed.verdict["policy"], changed.verdict["p_fake"]) == ("strict", 0.5)


def test_a_delivery_of_a_forgotten_image_is_dead_at_once(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    add(engine, receiver.url)
    judge(engine, 2)
    run(engine, "DELETE FROM ledger.images WHERE image_id = 1")
    with delivering(database_url):
        wait_for_states(engine, delivered=1, dead=1)
    assert len(receiver.told) == 1
    [(reason, attempts)] = tuples(
        engine, "SELECT last_error, attempts FROM webhook_deliveries WHERE state = 'dead'"
    )
    assert (reason, attempts) == ("its image was forgotten, so there is nothing to tell", 1)


def test_a_spoilt_secret_harms_its_own_webhook_alone(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    add(engine, receiver.url)
    add(engine, receiver.url, "spoilt")
    run(engine, "UPDATE ledger.webhooks SET secret = 'whsec_!' WHERE name = 'spoilt'")
    judge(engine, 1)
    with delivering(database_url, replace(HASTY, pauses_seconds=(0.02,))):
        wait_for_states(engine, delivered=1, dead=1)
    assert re.fullmatch(r"it cannot be sent \(\w+\)", value(
        engine, "SELECT last_error FROM webhook_deliveries WHERE state = 'dead'"
    ))  # fmt: skip


def test_neither_secrets_nor_queries_are_logged(
    engine: Engine, database_url: str, receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    receiver.in_turn(Reply(500), Reply(410))
    add(engine, receiver.url + "?key=hush")
    judge(engine, 1)
    with delivering(database_url):
        wait_for_states(engine, paused=1)
    logged = "".join(capfd.readouterr())
    assert "webhook_failing" in logged
    assert "webhook_gone" in logged
    assert "hush" not in logged
    assert "whsec_" not in logged
