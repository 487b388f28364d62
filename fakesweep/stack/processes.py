"""How the stack's servers are launched, recognised, waited for and read about, on Linux."""

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
"""What PostgreSQL writes before each line: the time, and a process that is no more."""

_DETACH = '"$@" >&2 & echo $!'


def surroundings(account: Account | None) -> dict[str, Any]:
    """Return how a program of the stack is run: whose it is, and how little of ours it sees."""
    return {
        "cwd": "/",
        "env": {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        "umask": 0o077,
        "user": account.uid if account else None,
        "group": account.gid if account else None,
        "extra_groups": [] if account else None,
    }


def wheel_folder(package: str) -> Path | None:
    """Return where a wheel lies, without importing it; None where it is not installed."""
    spec = find_spec(package)
    places = (spec and spec.submodule_search_locations) or []
    return next((Path(place).resolve() for place in places), None)


def launch(command: Sequence[str], log: Path, account: Account | None) -> int:
    """Start a server that outlives its caller, and return its pid.

    It gets a session of its own, so that Ctrl-C does not reach it, and no parent, so that it
    leaves no zombie in a caller that lives on. What the last run wrote is kept as `*.old.log`.

    Raises:
        OSError: it cannot be started at all.
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
    """Return whether a process lives that has every mark on its command line.

    A pid alone says nothing: after a crash or a reboot it may be another program's, or a zombie's.
    """
    if pid is None:
        return False
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return bool(command) and all(mark in command for mark in marks)


def push(pid: int, signal: Signals) -> None:
    """Send a signal to a process that may just have gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal)


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def complaint(log: Path) -> str:
    """Return where to look, and the cause that is written there."""
    try:
        said = cause(log.read_text(errors="replace"))
    except FileNotFoundError:
        said = None
    return f"see {log}, which tells: {said or 'nothing'}"


def cause(said: str) -> str | None:
    """Return the line that tells why a program failed, else its last one, None where it was silent.

    Programs tell the cause first, and then what they undo because of it.
    """
    lines = [line.strip() for line in said.split("\n") if line.strip()]
    causes = [line for line in lines if _CAUSE.search(line)]
    last = next(reversed(causes or lines), None)
    return last and _STAMP.sub("", last)
