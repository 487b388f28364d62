"""What a peer's processes tell the benchmark: moments and counts, each a small file."""

import time
from contextlib import suppress
from pathlib import Path

READY = "ready"
"""It has warmed up and is asked for the whole folder; from here on the clock runs."""

FIRST = "first"
LAST = "last"
ROWS = "rows"


def mark(folder: Path, name: str, value: float | None = None) -> None:
    """Note a number, this moment where none is given; the first to note a name wins."""
    with suppress(FileExistsError), (folder / name).open("x") as written:
        written.write(repr(time.time() if value is None else value))


def read_mark(folder: Path, name: str) -> float:
    """Return what was noted.

    Raises:
        FileNotFoundError: nothing was.
    """
    return float((folder / name).read_text())
