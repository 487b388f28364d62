"""Memory of a process tree, with shared pages counted once."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 1.0


@dataclass
class Watched:
    """Largest observed sum of proportional set sizes (PSS), in bytes."""

    peak_bytes: int = 0


@contextmanager
def watched(roots: Sequence[int]) -> Iterator[Watched]:
    """Sample the memory of process trees for the context."""
    found = Watched()
    over = threading.Event()

    def look() -> None:
        while True:
            found.peak_bytes = max(found.peak_bytes, tree_bytes(roots))
            if over.wait(SAMPLE_SECONDS):
                return

    thread = threading.Thread(target=look, name="memory", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def tree_bytes(roots: Sequence[int]) -> int:
    """Return the memory of process trees in bytes; unreadable processes count 0."""
    children = defaultdict(list)
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = status.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        children[int(after_name[1])].append(int(status.parent.name))
    left, total = list(roots), 0
    while left:
        process = left.pop()
        total += _pss_bytes(process)
        left += children[process]
    return total


def _pss_bytes(process: int) -> int:
    try:
        rolled_up = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0
    for line in rolled_up.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
