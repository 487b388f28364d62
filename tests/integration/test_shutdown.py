"""Shutdown of real workers by real signals while they hold a batch."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, text

from fakesweep.schema.message import BatchMessage
from fakesweep.schema.settings import Settings
from tests.support.batches import publish_scan, result_rows, uris_of
from tests.support.photographs import folder_of_photographs, photograph
from tests.support.servers import wait_until
from tests.support.web_server import Answer, Request, web_server
from tests.support.worker import WorkerProcess, batch_states, publish, running_worker

BROKEN_DEVICE = """
import sys
import fakesweep.workers.tasks
from fakesweep.schema.errors import DeviceError
from fakesweep.schema.settings import read_settings
from fakesweep.workers.app import run_worker

def run_batch(message, work):
    raise DeviceError("the device fell off the bus")

fakesweep.workers.tasks.run_batch = run_batch
sys.exit(run_worker(read_settings()))
"""


@dataclass
class Busy:
    """A worker with a batch in flight, whose only image arrives when `release` is set."""

    worker: WorkerProcess
    message: BatchMessage
    release: threading.Event


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(database_url=database_url, broker_url=broker_url)


@contextmanager
def busy_worker(
    settings: Settings, engine: Engine, log: Path, grace_seconds: float = 25
) -> Iterator[Busy]:
    release = threading.Event()

    def answer(_: Request) -> Answer:
        release.wait(60)
        return Answer(body=photograph(1))

    with (
        web_server() as server,
        running_worker(settings, log, grace_seconds=grace_seconds) as worker,
    ):
        server.answer = answer
        [message] = publish_scan(engine, [f"{server.url}/slow.jpg"])
        publish(settings, message)
        wait_until(lambda: bool(server.requests), "the image is asked for")
        try:
            yield Busy(worker, message, release)
        finally:
            release.set()


def test_a_worker_that_shuts_down_finishes_what_it_holds_and_takes_no_more(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    [more] = publish_scan(engine, uris_of(folder_of_photographs(tmp_path / "in", 2)))
    with busy_worker(settings, engine, tmp_path / "log") as busy:
        busy.worker.process.send_signal(signal.SIGTERM)
        assert busy.worker.says("shutdown_started")["signal"] == "SIGTERM"
        wait_until(lambda: not _waiting_clients(settings), "the worker asks for no more")
        publish(settings, more)
        busy.release.set()
        assert busy.worker.process.wait(30) == 0
        assert batch_states(engine) == {busy.message.batch_id: "done", more.batch_id: "published"}
        assert not busy.worker.events("handed_back")
        stored = busy.worker.says("batch_stored")
    assert (stored["batch_id"], stored["scan_id"]) == (busy.message.batch_id, busy.message.scan_id)
    assert stored["task_id"]
    assert result_rows(engine, busy.message.scan_id)[0]["status"] == "classified"
    assert _stopped_workers(engine) == 1


def test_work_unfinished_after_the_grace_period_is_handed_back(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    with busy_worker(settings, engine, tmp_path / "log", grace_seconds=0.5) as busy:
        busy.worker.process.send_signal(signal.SIGTERM)
        assert busy.worker.process.wait(20) == 0
        assert busy.worker.says("grace_period_over")["grace_seconds"] == 0.5
        assert busy.worker.says("handed_back")["batches"] == 1
    assert batch_states(engine) == {busy.message.batch_id: "recorded"}
    assert _stopped_workers(engine) == 1


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGQUIT])
def test_a_second_signal_hands_everything_back_at_once(
    settings: Settings, engine: Engine, tmp_path: Path, first: signal.Signals
) -> None:
    with busy_worker(settings, engine, tmp_path / "log", grace_seconds=60) as busy:
        busy.worker.process.send_signal(first)
        busy.worker.says("shutdown_started")
        told = time.monotonic()
        busy.worker.process.send_signal(first)
        assert busy.worker.process.wait(20) == 0
        assert time.monotonic() - told < 10
        assert busy.worker.says("shutdown_forced")["signal"] == first.name
    assert batch_states(engine) == {busy.message.batch_id: "recorded"}


def test_a_worker_whose_device_is_broken_ends_with_a_status_that_says_so(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    [message] = publish_scan(engine, uris_of(folder_of_photographs(tmp_path / "in", 2)))
    command = [sys.executable, "-c", BROKEN_DEVICE]
    with running_worker(settings, tmp_path / "log", command=command) as worker:
        publish(settings, message)
        assert worker.process.wait(30) == 70
        broken = worker.says("worker_broken")
    assert broken["reason"] == "the device fell off the bus"
    assert (broken["batch_id"], broken["scan_id"]) == (message.batch_id, message.scan_id)
    assert _stopped_workers(engine) == 1


def _waiting_clients(settings: Settings) -> list[str]:
    """Return the clients of the test's broker that wait for a message."""
    with redis.Redis.from_url(settings.broker_url or "") as client:
        database = str(client.get_connection_kwargs()["db"])
        ours = [one for one in client.client_list() if one["db"] == database]
        return [one["addr"] for one in ours if "b" in one["flags"]]


def _stopped_workers(engine: Engine) -> int:
    with engine.connect() as connection:
        stopped = text("SELECT count(*) FROM ledger.workers WHERE stopped_at IS NOT NULL")
        return int(connection.execute(stopped).scalar_one())
