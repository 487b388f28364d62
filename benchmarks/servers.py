"""Disposable local stack, PostgreSQL and a Redis-protocol server, and the command to use it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import REPOSITORY

LONGEST_SECONDS = 3_600.0
"""Time limit of a run; a longer one has hung."""


@dataclass(frozen=True)
class Stack:
    """Two private servers with default durability and empty tables."""

    home: Path
    database_url: str
    broker_url: str

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return a process' environment for this stack, without the person's settings."""
        own = {"HOME": str(self.home), "DATABASE_URL": self.database_url}
        own |= {"BROKER_URL": self.broker_url, "FILE_ROOTS": "/", **settings}
        return bare_environment() | {f"FAKESWEEP_{name}": value for name, value in own.items()}


@contextmanager
def fresh_stack() -> Iterator[Stack]:
    """Start both servers in a new folder, and remove it at the end."""
    home = Path(tempfile.mkdtemp(prefix="fs-bench-", dir="/tmp"))
    environment = bare_environment() | {"FAKESWEEP_HOME": str(home)}
    try:
        said = _run(["up"], environment)
        urls = dict(line.split(maxsplit=1) for line in said.splitlines())
        yield Stack(home, urls["PostgreSQL"], urls["broker"])
    finally:
        _run(["down"], environment)
        shutil.rmtree(home, ignore_errors=True)


def command(*words: str) -> list[str]:
    """Return the command line of a `fakesweep` process."""
    return [sys.executable, "-P", "-m", "fakesweep", *words]


def bare_environment() -> dict[str, str]:
    """Return this environment without fakesweep settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FAKESWEEP_")}
    return kept | {"PYTHONPATH": str(REPOSITORY)}


def wait_until(
    condition: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path, seconds: float
) -> None:
    """Wait for a condition while a process runs.

    Raises:
        RuntimeError: the process ended, or the time is up; the message has its last line.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode}: {last_line(log)}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"it did not get there in {seconds:g} s: {last_line(log)}")
        time.sleep(0.02)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Terminate a process; kill it after a timeout."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_line(log: Path) -> str:
    """Return the last line of a log."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")


def _run(words: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command(*words), env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"fakesweep {words[0]} failed")
    return done.stdout
