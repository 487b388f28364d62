"""`fakesweep webhook` as a person uses it, with a real worker's verdicts."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.command import Command, refusal
from tests.acceptance.conftest import Photographs
from tests.support.servers import wait_until
from tests.support.webhook_receiver import NETWORK, SECRET, Receiver, Reply, webhook_receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as found:
        yield found


@pytest.fixture
def alone(cluster_without_worker: Command, database_url: str) -> Command:
    """The command on a ledger of its own, with egress to this machine allowed."""
    return cluster_without_worker.where(DATABASE_URL=database_url, ALLOW_NETWORKS=NETWORK)


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return str(path)


def test_a_verdict_of_a_scan_reaches_its_receiver(
    cluster: Command, photographs: Photographs, receiver: Receiver, secret_file: str
) -> None:
    cluster.ok(
        "webhook", "add", "moderation", receiver.url, "--secret-file", secret_file,
        *(word for verdict in ("real", "fake", "uncertain") for word in ("--verdict", verdict)),
        "--model", "vit-tiny-cifake",
    )  # fmt: skip
    try:
        said = cluster.scan(str(photographs(3)), "--model", "vit-tiny-cifake")
        with _producer(cluster.where(ALLOW_NETWORKS=NETWORK)):
            wait_until(lambda: len(receiver.told) == 3, "the receiver was told", 60)
        results = {row["uri"]: row for row in cluster.results(said["scan_id"])}
        for told in receiver.told:
            row = results[told.verdict["uri"]]
            for name in ("verdict", "kind", "p_fake", "model", "model_revision", "sha256"):
                assert told.verdict[name] == row[name]
        [view] = cluster.ask(
            "SELECT DISTINCT webhook, state, attempts FROM webhook_deliveries"
            " WHERE webhook = 'moderation'"
        )
        assert view == {"webhook": "moderation", "state": "delivered", "attempts": 1}
    finally:
        cluster.ok("webhook", "remove", "moderation")


def test_a_test_says_what_came_back(alone: Command, receiver: Receiver, secret_file: str) -> None:
    alone.ok("webhook", "add", "moderation", receiver.url, "--secret-file", secret_file)
    assert "webhook moderation took the example: 200 OK, after " in alone.ok(
        "webhook", "test", "moderation"
    )
    [told] = receiver.told
    assert told.said["type"] == "webhook.test"
    receiver.always(Reply(500))
    line = refusal(alone("webhook", "test", "moderation"))
    assert line == (
        "fakesweep: webhook moderation did not take the example: 500 Internal Server Error"
    )
    done = alone("webhook", "test", "--json", "moderation")
    said = json.loads(done.stdout)
    assert done.returncode == 1
    assert (said["is_delivered"], said["status"]) == (False, 500)
    assert len(receiver.told) == 3


@contextmanager
def _producer(command: Command) -> Iterator[None]:
    """Run the producer's service, and check that it stops cleanly."""
    producer = command.start("producer")
    try:
        yield
        producer.terminate()
        _, complaints = producer.communicate(timeout=30)
        assert producer.returncode == 0, complaints
    finally:
        producer.kill()
        producer.wait(30)
