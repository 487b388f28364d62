"""Server processes of the stack on Linux: launch, recognition, waiting, causes in logs."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from signal import Signals
from typing import Any

from fakesweep.stack.accounts import Account, open_private

POLL_SECONDS = 0.01

_CAUSE = re.compile(r"\b(FATAL|PANIC|Fatal|error:|could not|No space left|out of memory)")
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d [\d:.]+ \w+ \[\d+\] ")
"""Prefix of PostgreSQL's log lines: time and pid."""

_DETACH = '"$@" >&2 & echo $!'


def surroundings(account: Account | None) -> dict[str, Any]:
    """Return the subprocess arguments of a stack program: account, folder, a bare environment."""
    return {
        "cwd": "/",
        "env": {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        "umask": 0o077,
        "user": account.uid if account else None,
        "group": account.gid if account else None,
        "extra_groups": [] if account else None,
    }


def wheel_folder(package: str) -> Path | None:
    """Return a package's folder without importing it, None if it is not installed."""
    spec = find_spec(package)
    places = (spec and spec.submodule_search_locations) or []
    return next((Path(place).resolve() for place in places), None)


def launch(command: Sequence[str], log: Path, account: Account | None) -> int:
    """Start a server that outlives its caller, and return its pid.

    It has its own session, so that Ctrl-C does not reach it, and is reparented to init, so that it
    leaves no zombie. The last run's log is kept as `*.old.log`.

    Raises:
        OSError: the log cannot be written, or the shell cannot run.
    """
    if log.exists():
        log.replace(log.with_suffix(".old.log"))
    with open_private(log, account) as written:
        done = subprocess.run(  # noqa: S603 - every word of the command is ours
            ["/bin/sh", "-c", _DETACH, "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=written,
            start_new_session=True,
            check=True,
            **surroundings(account),
        )
    return int(done.stdout)


def is_running(pid: int | None, *marks: bytes) -> bool:
    """Return whether a process is alive and has every mark on its command line.

    The marks are needed because after a crash or reboot a pid may belong to another program.
    """
    if pid is None:
        return False
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return bool(command) and all(mark in command for mark in marks)


def send(pid: int, signal: Signals) -> None:
    """Send a signal to a process, if it still exists."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal)


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; return whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def complaint(log: Path) -> str:
    """Return a log's path and the cause it names."""
    try:
        said = cause(log.read_text(errors="replace"))
    except FileNotFoundError:
        said = None
    return f"see {log}, which tells: {said or 'nothing'}"


def cause(said: str) -> str | None:
    """Return a program's last error line, else its last line, None if it wrote nothing.

    A later line without an error word is clean-up after the failure.
    """
    lines = [line.strip() for line in said.split("\n") if line.strip()]
    causes = [line for line in lines if _CAUSE.search(line)]
    last = next(reversed(causes or lines), None)
    return last and _STAMP.sub("", last)
