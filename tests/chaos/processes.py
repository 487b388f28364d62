"""Supervised processes of the cluster under test, restarted when they end."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM, Signals

MARK = "CHAOS_RUN"
"""Environment variable that identifies a run's processes; it holds the run's folder."""

RESTART_SECONDS = 1.0
LEAVE_SECONDS = 20.0
_SHOWN_LINES = 3
_FATAL = (SIGKILL, SIGTERM)


@dataclass(frozen=True)
class Death:
    """A process that ended; `was_told` if by a fault or the run itself."""

    process: str
    at: float
    status: int
    was_told: bool
    last_lines: tuple[str, ...]


class Supervised:
    """A process that is restarted until `stop`."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], logs: Path
    ) -> None:
        self.name = name
        self.deaths: list[Death] = []
        self.thawed_at = 0.0
        self._command = list(command)
        self._environment = dict(environment)
        self._logs = logs
        self._told: set[int] = set()
        self._leaving = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Pid of the running process, None between restarts."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def push(self, signal: Signals) -> int | None:
        """Signal the running process; return its pid."""
        pid = self.pid
        if pid is not None:
            if signal in _FATAL:
                self._told.add(pid)
            push(pid, signal)
        return pid

    def was_told(self, pid: int | None) -> bool:
        """Return whether a fault or the run itself ended this process."""
        return pid in self._told

    def stop(self) -> None:
        """End the process for good: terminate, then kill."""
        self._leaving.set()
        if not self._thread.is_alive():
            return
        self.push(SIGCONT)
        self.push(SIGTERM)
        self._thread.join(LEAVE_SECONDS)
        self.push(SIGKILL)
        self._thread.join()

    def _run(self) -> None:
        started = 0
        while not self._leaving.is_set():
            started += 1
            log = self._logs / f"{self.name}.{started:03}.log"
            with log.open("wb") as written:
                process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=written,
                    stderr=written,
                    env=self._environment,
                    start_new_session=True,
                )
            self._process = process
            status = process.wait()
            told = process.pid in self._told or self._leaving.is_set()
            self.deaths.append(Death(self.name, time.time(), status, told, last_lines(log)))
            self._leaving.wait(RESTART_SECONDS)


def push(pid: int, signal: Signals) -> None:
    """Signal a process, which may have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal)


def lives(pid: int | None) -> bool:
    """Return whether a process exists and is no zombie."""
    return pid is not None and _state(pid) not in ("", "Z", "X")


def children_of(pid: int, mark: bytes = b"") -> list[int]:
    """Return a process' children whose command line contains `mark`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and mark in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return sorted(found)


def marked(folder: Path) -> list[int]:
    """Return the processes of a run, except this one.

    The broker overwrites its environment with its title, so its working folder identifies it.
    """
    mark, found = f"{MARK}={folder}\0".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            pid = int(process.name)
            is_ours = mark in (process / "environ").read_bytes() or _works_in(process, folder)
            if is_ours and pid != os.getpid() and lives(pid):
                found.append(pid)
    return found


def last_lines(log: Path) -> tuple[str, ...]:
    """Return the last lines of a log, shortened."""
    lines = log.read_text("utf-8", "replace").splitlines()
    said = [line.strip() for line in lines if line.strip()]
    return tuple(_short(line) for line in said[-_SHOWN_LINES:])


def python(module: str, *words: str) -> list[str]:
    """Return the command line that runs a module."""
    return [sys.executable, "-P", "-m", module, *words]


def _works_in(process: Path, folder: Path) -> bool:
    return (process / "cwd").readlink().is_relative_to(folder)


def _short(line: str) -> str:
    with suppress(ValueError, AttributeError):
        said = json.loads(line)
        facts = ("event", "reason", "exception", "error")
        return " ".join(str(said[name])[-400:] for name in facts if name in said)
    return line[-400:]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
