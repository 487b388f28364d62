"""Redis-protocol server that can be killed, frozen, and restarted empty on the same port."""

import subprocess
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import redis

from fakesweep.stack.processes import wait_for
from fakesweep.stack.redis_server import _program
from tests.chaos.processes import MARK, push
from tests.support.servers import free_port

START_SECONDS = 20.0
UNACKNOWLEDGED = "unacked"
"""Kombu's key of taken and unfinished messages."""


class Broker:
    """Broker of one run, without persistence."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.client = redis.Redis(port=self.port, socket_timeout=5, socket_connect_timeout=5)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        command = [str(_program()), "--port", str(self.port), "--bind", "127.0.0.1"]
        with (self._folder / "logs" / "broker.log").open("ab") as written:
            self._process = subprocess.Popen(
                [*command, "--save", "", "--appendonly", "no"],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                cwd=self._folder,
                env={MARK: str(self._folder)},
                start_new_session=True,
            )
        if not wait_for(self.answers, START_SECONDS):
            raise RuntimeError("the broker does not start")

    def kill(self) -> None:
        if self._process is not None:
            push(self._process.pid, SIGKILL)
            self._process.wait(10)

    def freeze(self) -> None:
        if self._process is not None:
            push(self._process.pid, SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            push(self._process.pid, SIGCONT)

    def answers(self) -> bool:
        with suppress(redis.RedisError, OSError):
            return bool(self.client.ping())
        return False

    def peak_bytes(self) -> int | None:
        """Return the peak memory since the start, None without an answer."""
        with suppress(redis.RedisError, OSError):
            return int(self.client.info("memory")["used_memory_peak"])
        return None
