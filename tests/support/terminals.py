"""Python programs on a real terminal of a chosen size, and the visible output."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping

TIMEOUT_SECONDS = 60
ERASED = re.compile(r"\x1b\[2K|\x1b\[1A\x1b\[2K")
STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def run_on_terminal(
    program: str, columns: int, settings: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a Python program on a terminal; return its status and output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", **(settings or {})}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    received = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        while chunk := _read(terminal.fileno()):
            received += chunk
    return process.wait(TIMEOUT_SECONDS), received.decode()


def lines_left(received: str) -> list[str]:
    """Return the lines that stay on the screen, after erasures."""
    lines = []
    for line in received.replace("\r\n", "\n").split("\n"):
        seen = STYLE.sub("", ERASED.split(line)[-1]).strip("\r").rstrip()
        if seen:
            lines.append(seen)
    return lines


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # on Linux: the other side is closed
        return b""
