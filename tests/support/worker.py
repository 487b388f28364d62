"""A real worker process, and its log."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from fakesweep.producer.publisher import Publisher
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.settings import Settings
from tests.support.servers import wait_until

READY_SECONDS = 90


@dataclass(frozen=True)
class WorkerProcess:
    process: "subprocess.Popen[bytes]"
    log: Path

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return its log; every line is JSON."""
        lines = self.log.read_text().splitlines(keepends=True)
        said = [json.loads(line) for line in lines if line.endswith("\n")]
        return [one for one in said if name in (None, one["event"])]

    def says(self, name: str, timeout_seconds: float = 30.0) -> dict[str, Any]:
        """Wait for an event in the log; return the first."""
        wait_until(lambda: bool(self.events(name)), f"{name}: {self.log}", timeout_seconds)
        return self.events(name)[0]


@contextmanager
def running_worker(
    settings: Settings, log: Path, *, command: list[str] | None = None, grace_seconds: float = 25
) -> Iterator[WorkerProcess]:
    """Run a ready worker for the context."""
    named = {
        "DATABASE_URL": settings.database_url or "",
        "BROKER_URL": settings.broker_url or "",
        "DEVICE": "cpu",
        "MODELS": "vit-tiny-cifake",
        "CPU_THREADS": "1",
        "LOADERS": "2",
        "BATCHES_IN_FLIGHT": "2",
        "FILE_ROOTS": "/",
        "ALLOW_NETWORKS": "127.0.0.0/8",
        "LOG_FORMAT": "json",
        "GRACE_SECONDS": str(grace_seconds),
    }
    environment = os.environ | {f"FAKESWEEP_{name}": value for name, value in named.items()}
    with log.open("wb") as written:
        process = subprocess.Popen(
            command or [sys.executable, "-P", "-m", "fakesweep", "worker"],
            env=environment | {"TMPDIR": str(log.parent)},
            stdout=written,
            stderr=written,
        )
    worker = WorkerProcess(process, log)
    try:
        worker.says("worker_ready", READY_SECONDS)
        yield worker
    finally:
        process.kill()
        process.wait()


def publish(settings: Settings, *messages: BatchMessage) -> None:
    publisher = Publisher(settings)
    for message in messages:
        publisher.publish(message)
    publisher.close()


def batch_states(engine: Engine) -> dict[int, str]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT batch_id, state FROM ledger.batches"))
        return {row.batch_id: row.state for row in rows}


def wait_until_done(engine: Engine, message: BatchMessage, timeout_seconds: float = 30.0) -> None:
    wait_until(
        lambda: batch_states(engine)[message.batch_id] == "done",
        f"batch {message.batch_id} is done",
        timeout_seconds,
    )
