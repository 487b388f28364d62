"""Webhook receivers that fail, hang, disappear, redirect or cannot be reached."""

import re
import ssl
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.webhooks import webhooks
from tests.integration.deliveries import add, judge, wait_for_states, why
from tests.integration.ledger.rows import run, tuples, value
from tests.support.servers import free_port, wait_until
from tests.support.tls import authority, tls_before
from tests.support.webhook_receiver import Receiver, Reply, webhook_receiver
from tests.support.webhook_sender import HASTY, delivering


def test_a_failed_delivery_comes_again_under_the_same_id_with_the_same_body(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    receiver.in_turn(Reply(500), Reply(503, {"Retry-After": "0"}), Reply(404), Reply(204))
    add(engine, receiver.url)
    with delivering(database_url):
        judge(engine, 1)
        wait_for_states(engine, delivered=1)
    assert len(receiver.told) == 4
    assert len(set(receiver.ids)) == 1
    assert len({one.raw for one in receiver.told}) == 1
    assert tuples(engine, "SELECT attempts, last_status, last_error FROM webhook_deliveries") == [
        (4, 204, None)
    ]


def test_a_delivery_that_fails_at_every_attempt_is_dead_and_can_be_retried(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    receiver.always(Reply(500, body=b"hush"))
    add(engine, receiver.url)
    judge(engine, 1)
    with delivering(database_url):
        wait_for_states(engine, dead=1)
        assert len(receiver.told) == len(HASTY.pauses_seconds) + 1
        assert why(engine) == "500 Internal Server Error"
        receiver.always(Reply())
        with engine.begin() as connection:
            assert webhooks.retry_dead(connection, "moderation") == 1
        wait_for_states(engine, delivered=1)
    assert len(set(receiver.ids)) == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_receiver_that_asks_for_time_gets_it(
    engine: Engine, database_url: str, receiver: Receiver, form: str
) -> None:
    asked = "600" if form == "seconds" else formatdate(time.time() + 600, usegmt=True)
    receiver.always(Reply(429, {"Retry-After": asked}))
    add(engine, receiver.url)
    judge(engine, 1)
    with delivering(database_url):
        wait_until(lambda: why(engine) == "429 Too Many Requests", "the answer is noted")
    left = "SELECT extract(epoch FROM next_attempt_at - now()) FROM webhook_deliveries"
    assert 500 < float(value(engine, left)) <= 1.2 * 601


def test_redirects_are_not_followed(engine: Engine, database_url: str, receiver: Receiver) -> None:
    receiver.always(Reply(307, {"Location": "/elsewhere"}))
    add(engine, receiver.url)
    judge(engine, 1)
    with delivering(database_url):
        wait_for_states(engine, dead=1)
    assert {one.path for one in receiver.told} == {"/hook"}
    assert why(engine) == "307 Temporary Redirect"


def test_a_receiver_that_is_gone_is_left_alone_and_loses_nothing(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    receiver.always(Reply(410))
    add(engine, receiver.url)
    with delivering(database_url):
        judge(engine, 1)
        wait_for_states(engine, paused=1)
        judge(engine, 1)
        wait_for_states(engine, paused=2)
        assert len(receiver.told) == 1
        receiver.always(Reply())
        with engine.begin() as connection:
            assert webhooks.resume_webhook(connection, "moderation")
        wait_for_states(engine, delivered=2)


def test_a_hanging_receiver_delays_neither_others_nor_the_shutdown(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    patient = replace(HASTY, timeout_seconds=60.0, lease_seconds=180.0, shutdown_seconds=0.0)
    with webhook_receiver() as slow:
        slow.always(Reply(hangs=True))
        add(engine, slow.url, "slow")
        add(engine, receiver.url, "quick")
        judge(engine, 20)
        with delivering(database_url, patient):
            wait_until(lambda: len(receiver.told) == 20, "the other one was told everything")
            wait_until(lambda: len(slow.told) == patient.at_once, "it has as many as it may")
            wait_for_states(engine, delivered=20, sending=patient.at_once,
                            waiting=20 - patient.at_once)  # fmt: skip
        assert len(slow.told) == patient.at_once


def test_a_receiver_that_does_not_answer_in_time_is_asked_again(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    receiver.in_turn(Reply(hangs=True), Reply())
    add(engine, receiver.url)
    judge(engine, 1)
    with delivering(database_url, replace(HASTY, timeout_seconds=0.2)):
        wait_for_states(engine, delivered=1)
    assert len(receiver.told) == 2


def test_connections_are_used_again(engine: Engine, database_url: str, receiver: Receiver) -> None:
    receiver.always(Reply(200, body=b"thank you"))
    add(engine, receiver.url)
    judge(engine, 40)
    with delivering(database_url):
        wait_for_states(engine, delivered=40)
    assert len(receiver.told) == 40
    assert receiver.connections <= 2 * HASTY.at_once


def test_an_answer_without_end_is_no_failure_and_is_not_read(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    receiver.always(Reply(200, {"Content-Encoding": "gzip"}, b"x" * 10_000_000))
    add(engine, receiver.url)
    judge(engine, 2)
    with delivering(database_url):
        wait_for_states(engine, delivered=2)


def test_addresses_that_are_not_public_are_not_reached(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    add(engine, receiver.url)
    add(engine, "http://169.254.169.254/latest/meta-data/", "metadata")
    judge(engine, 1)
    with delivering(database_url, allow_networks="10.0.0.0/8"):
        wait_for_states(engine, dead=2)
    assert receiver.connections == 0
    assert why(engine) == ("its address is not public, which is refused (FAKESWEEP_ALLOW_NETWORKS)")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{port}/", "it cannot be reached: Connection refused"),
        ("http://nowhere.invalid/", "its host name is not known"),
        ("http://a..b/", r"it cannot be asked \(\w+\)"),
    ],
)
def test_a_receiver_that_is_not_there_is_a_failure_that_names_no_address(
    engine: Engine, database_url: str, url: str, reason: str
) -> None:
    add(engine, url.format(port=free_port()) + "?key=hush")
    judge(engine, 1)
    with delivering(database_url):
        wait_for_states(engine, dead=1)
    assert re.fullmatch(reason, why(engine))


def test_a_receiver_that_no_authority_vouches_for_is_not_told(
    engine: Engine,
    database_url: str,
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = authority(tmp_path, "known")
    port = int(receiver.url.rpartition(":")[2].partition("/")[0])
    with tls_before(known.context, port=port) as tls_port:
        add(engine, f"https://localhost:{tls_port}/hook")
        judge(engine, 1)
        with delivering(database_url, allow_networks="127.0.0.1/32,::1/128"):
            wait_for_states(engine, dead=1)
        assert receiver.told == []
        assert why(engine).startswith("its certificate is refused: ")
        monkeypatch.setenv("SSL_CERT_FILE", str(known.file))
        assert ssl.get_default_verify_paths().cafile == str(known.file)
        run(engine, "UPDATE ledger.webhook_deliveries SET dead_at = NULL, attempts = 0")
        with delivering(database_url, allow_networks="127.0.0.1/32,::1/128"):
            wait_for_states(engine, delivered=1)
    assert len(receiver.told) == 1
