"""Marks from a peer's processes to the benchmark: times and counts in small files."""

import time
from contextlib import suppress
from pathlib import Path

READY = "ready"
"""Mark of the end of the warm-up, where the clock starts."""

FIRST = "first"
LAST = "last"
ROWS = "rows"


def mark(folder: Path, name: str, value: float | None = None) -> None:
    """Write a number, by default the current time; the first writer of a name wins."""
    with suppress(FileExistsError), (folder / name).open("x") as written:
        written.write(repr(time.time() if value is None else value))


def read_mark(folder: Path, name: str) -> float:
    """Return a mark's number.

    Raises:
        FileNotFoundError: the mark is not written.
    """
    return float((folder / name).read_text())
