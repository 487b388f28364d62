"""The command `fakesweep` as a person runs it: a process, its streams and its exit status."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 120
BESIDE = re.compile(r"fakesweep: no --model given|scan \d+: \d+ of \d+ images")


@dataclass(frozen=True)
class Command:
    """`fakesweep` with an environment of its own, without the person's settings."""

    settings: Mapping[str, str]
    more: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable

    @property
    def environment(self) -> dict[str, str]:
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FAKESWEEP_", "AWS_"))
        }
        return own | dict(self.more) | {f"FAKESWEEP_{n}": v for n, v in self.settings.items()}

    def where(self, **settings: str) -> "Command":
        """Return the command with some settings changed."""
        return replace(self, settings={**self.settings, **settings})

    def __call__(
        self, *words: str, typed: str = "", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(*words),
            check=False,
            input=typed,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=TIMEOUT_SECONDS,
            cwd=cwd,
        )

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.line(*words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def on_terminal(self, *words: str) -> str:
        """Run it with a terminal as its streams; return the terminal's output."""
        status, received = self.asked("", *words)
        assert status == 0, received
        return received

    def asked(self, typed: str, *words: str) -> tuple[int, str]:
        """Run it with a terminal and type; return its exit status and the terminal's output."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            self.line(*words),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=self.environment | {"TERM": "xterm", "COLUMNS": "120"},
        )
        os.close(theirs)
        os.write(ours, typed.encode())
        received = b""
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            while chunk := _read(terminal.fileno()):
                received += chunk
        return process.wait(TIMEOUT_SECONDS), received.decode()

    def ok(self, *words: str, typed: str = "") -> str:
        """Run it, expect success, return its standard output."""
        done = self(*words, typed=typed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def scan(self, *words: str, typed: str = "") -> dict[str, Any]:
        """Scan to the end and return the JSON object."""
        said: dict[str, Any] = json.loads(self.ok("scan", "--json", *words, typed=typed))
        assert said["state"] == "finished"
        return said

    def results(self, scan_id: int, *words: str) -> list[dict[str, Any]]:
        out = self.ok("results", str(scan_id), "--format", "jsonl", *words)
        return [json.loads(line) for line in out.splitlines()]

    def ask(self, query: str) -> list[dict[str, Any]]:
        out = self.ok("sql", query, "--format", "jsonl")
        return [json.loads(line) for line in out.splitlines()]

    def line(self, *words: str) -> list[str]:
        return [self.python, "-P", "-m", "fakesweep", *words]


def counts(said: Mapping[str, Any]) -> dict[str, int]:
    """Return a scan's counts, checked to account for every image."""
    names = ("classified", "reused", "failed", "pending")
    assert said["submitted"] == sum(said[name] for name in names)
    return {name: said[name] for name in names if said[name]}


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return a refused command's only line, which is on standard error."""
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not BESIDE.match(line)]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("fakesweep: ")
    assert "Traceback" not in done.stderr
    assert "unexpected" not in lines[0]
    return lines[0]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux, when the other side is closed
        return b""
