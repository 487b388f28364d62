"""Broker faults under one real worker, which must recover without a restart each time.

The tests republish lost messages by hand, which is the producer's task.
"""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine

from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.queues import LIVE_SLOTS
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane
from tests.chaos.broker import Broker
from tests.conftest import _execute, _named
from tests.support.batches import publish_scan, result_rows
from tests.support.photographs import photograph
from tests.support.servers import wait_until
from tests.support.web_server import Answer, Request, WebServer, web_server
from tests.support.worker import (
    WorkerProcess,
    batch_states,
    publish,
    running_worker,
    wait_until_done,
)

RECOVERY_SECONDS = 60
BATCHES_IN_FLIGHT = 2
"""Batches in flight of the worker, besides live ones."""

EXPECTED = {"broker_away", "broker_back", "batch_passed_over"}
"""Warnings that a worker may log during broker faults, one line each."""


_seeds = itertools.count()


@dataclass
class Cluster:
    settings: Settings
    engine: Engine
    broker: Broker
    worker: WorkerProcess
    storage: WebServer

    def consumes(self) -> None:
        """Publish a batch and wait for its end."""
        [message] = publish_scan(self.engine, [f"{self.storage.url}/fresh.jpg"])
        publish(self.settings, message)
        wait_until_done(self.engine, message, RECOVERY_SECONDS)
        assert result_rows(self.engine, message.scan_id)[0]["status"] == "classified"


@pytest.fixture(scope="module")
def cluster(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "logs").mkdir()
    _execute(
        postgres,
        "CREATE DATABASE fakesweep_test_faults TEMPLATE fakesweep_test_template STRATEGY FILE_COPY",
    )
    url = _named(postgres, "fakesweep_test_faults")
    engine = open_engine(url, "tests", pool_size=4)
    broker = Broker(folder)
    broker.start()
    settings = Settings(database_url=url, broker_url=broker.url())
    try:
        with (
            web_server() as storage,
            running_worker(settings, folder / "worker.log") as worker,
        ):
            storage.answer = lambda _: Answer(body=photograph(next(_seeds)))
            yield Cluster(settings, engine, broker, worker, storage)
    finally:
        broker.thaw()
        broker.kill()
        engine.dispose()


@pytest.fixture(autouse=True)
def _same_worker(cluster: Cluster) -> Iterator[None]:
    yield
    assert cluster.worker.process.poll() is None, "the worker died of it"


@contextmanager
def _says_once_more(cluster: Cluster, event: str) -> Iterator[None]:
    """Wait at the context's end for an event that the worker logs within the context."""
    before = len(cluster.worker.events(event))
    yield
    wait_until(lambda: len(cluster.worker.events(event)) > before, event, RECOVERY_SECONDS)


@contextmanager
def _in_the_midst_of_a_batch(cluster: Cluster, lane: Lane = Lane.BULK) -> Iterator[int]:
    """Hold the worker in a batch for the context; yield the batch."""
    release, usual = threading.Event(), cluster.storage.answer

    def answer(asked: Request) -> Answer:
        if "held" in asked.path:
            release.wait(60)
        return usual(asked)

    cluster.storage.answer = answer
    [message] = publish_scan(cluster.engine, [f"{cluster.storage.url}/held.jpg"], lane=lane)
    try:
        publish(cluster.settings, message)
        wait_until(
            lambda: batch_states(cluster.engine)[message.batch_id] == "running", "it is held"
        )
        yield message.batch_id
    finally:
        release.set()
        cluster.storage.answer = usual


def test_connections_cut_off_while_the_worker_waits(cluster: Cluster) -> None:
    cluster.broker.client.client_kill_filter(_type="normal", skipme=True)
    cluster.consumes()


def test_everything_flushed_while_the_worker_waits(cluster: Cluster) -> None:
    cluster.broker.client.flushall()
    cluster.consumes()


def test_killed_and_started_again_empty_while_the_worker_waits(cluster: Cluster) -> None:
    with _says_once_more(cluster, "broker_away"):
        cluster.broker.kill()
    cluster.broker.start()
    began = time.monotonic()
    with _says_once_more(cluster, "broker_back"):
        cluster.consumes()
    assert time.monotonic() - began < RECOVERY_SECONDS


def test_killed_and_started_again_empty_while_a_batch_is_worked_on(cluster: Cluster) -> None:
    with _in_the_midst_of_a_batch(cluster) as held, _says_once_more(cluster, "broker_back"):
        with _says_once_more(cluster, "broker_away"):
            cluster.broker.kill()
        cluster.broker.start()
    wait_until(lambda: batch_states(cluster.engine)[held] == "done", "the batch in hand is done")
    cluster.consumes()


def test_gone_while_every_batch_in_flight_ends_so_that_none_can_be_acknowledged(
    cluster: Cluster,
) -> None:
    with ExitStack() as held:
        lanes = [Lane.BULK] * BATCHES_IN_FLIGHT + [Lane.LIVE] * LIVE_SLOTS
        batches = [held.enter_context(_in_the_midst_of_a_batch(cluster, lane)) for lane in lanes]
        cluster.broker.kill()
    wait_until(
        lambda: {batch_states(cluster.engine)[batch] for batch in batches} == {"done"},
        "the batches in hand are done",
    )
    wait_until(
        lambda: cluster.worker.log.read_text().count("Couldn't ack") >= len(lanes),
        "nobody hears of it",
    )
    cluster.broker.start()
    cluster.consumes()


def test_everything_flushed_while_a_batch_is_worked_on(cluster: Cluster) -> None:
    with _in_the_midst_of_a_batch(cluster) as held:
        cluster.broker.client.flushall()
    wait_until(lambda: batch_states(cluster.engine)[held] == "done", "the batch in hand is done")
    cluster.consumes()


def test_frozen_for_a_while(cluster: Cluster) -> None:
    no_retry = Retry(NoBackoff(), 0)
    impatient = redis.Redis(port=cluster.broker.port, socket_timeout=2, retry=no_retry)
    cluster.broker.freeze()
    with impatient, pytest.raises(redis.RedisError):
        impatient.ping()
    cluster.broker.thaw()
    cluster.consumes()


def test_refusing_what_is_asked_of_it(cluster: Cluster) -> None:
    with _says_once_more(cluster, "broker_away"):
        cluster.broker.client.set("bulk", "no list at all")
    cluster.broker.client.delete("bulk")
    cluster.consumes()


def test_what_the_worker_said_of_all_this_is_short_and_without_tracebacks(
    cluster: Cluster,
) -> None:
    said = cluster.worker.events()
    assert [one for one in said if one["event"] == "broker_away"], "the faults came before"
    assert not [one for one in said if "exception" in one or "Traceback" in str(one)]
    assert all(one["event"].isprintable() for one in said)
    warned = {one["event"] for one in said if one["level"] not in ("info", "debug")}
    assert {one for one in warned if " " not in one} <= EXPECTED
    assert not [one for one in said if "Celery 5.1" in one["event"]]
    assert len([one for one in said if one["event"] != "batch_stored"]) < 40
