"""`fakesweep health`, as a container asks it: another process of the same user."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakesweep.schema.settings import Settings
from tests.acceptance.command import Command
from tests.chaos.broker import Broker
from tests.support.servers import wait_until
from tests.support.worker import WorkerProcess, running_worker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    (tmp_path / "logs").mkdir()
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def worker(broker: Broker, database_url: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    settings = Settings(database_url=database_url, broker_url=broker.url())
    with running_worker(settings, tmp_path / "worker.log") as worker:
        yield worker


def test_a_worker_is_healthy_while_it_waits_for_its_broker_and_not_once_it_is_gone(
    worker: WorkerProcess, broker: Broker, tmp_path: Path
) -> None:
    here = Command({}, {"TMPDIR": str(tmp_path)})
    wait_until(lambda: "is running" in here("health", "worker").stdout, "it is running")
    began = time.monotonic()
    assert here.ok("health", "worker") == f"worker {worker.process.pid} is running\n"
    assert time.monotonic() - began < 5
    broker.kill()
    worker.says("broker_away")
    wait_until(
        lambda: "is waiting for the broker" in here.ok("health", "worker"), "the worker waits"
    )
    worker.process.send_signal(signal.SIGKILL)
    worker.process.wait()
    gone = here("health", "worker")
    assert (gone.returncode, gone.stdout, gone.stderr) == (1, "", "no worker runs here\n")


def test_a_worker_that_is_frozen_is_not_healthy(worker: WorkerProcess, tmp_path: Path) -> None:
    here = Command({}, {"TMPDIR": str(tmp_path)})
    wait_until(lambda: here("health", "worker").returncode == 0, "it is healthy")
    [file] = tmp_path.glob("fakesweep-*/worker-*.json")
    worker.process.send_signal(signal.SIGSTOP)
    file.write_text(_long_ago(file.read_text()))
    frozen = here("health", "worker")
    assert frozen.returncode == 1
    assert f"worker {worker.process.pid} has not been heard of for" in frozen.stderr
    worker.process.send_signal(signal.SIGCONT)
    wait_until(lambda: here("health", "worker").returncode == 0, "it is healthy again")


def test_where_nothing_runs_the_command_says_so_and_which_processes_it_knows(
    tmp_path: Path,
) -> None:
    here = Command({}, {"TMPDIR": str(tmp_path)})
    assert here("health", "producer").stderr == "no producer runs here\n"
    assert here("health", "broker").returncode == 2


def _long_ago(written: str) -> str:
    """Return a heartbeat as it would be after a minute of silence."""
    said = json.loads(written)
    return json.dumps(said | {"beat_at": said["beat_at"] - 60})
