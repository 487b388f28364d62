"""Reaper: ends the processes of a chaos run that was killed."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGKILL
from subprocess import PIPE, Popen

from tests.chaos.processes import marked, push, python


@contextmanager
def reaped(folder: Path) -> Iterator[None]:
    """End every process of the run at the end of the context or of this process."""
    with Popen(python("tests.chaos.reaper", str(folder)), stdin=PIPE, start_new_session=True) as it:
        try:
            yield
        finally:
            if it.stdin is not None:
                it.stdin.close()


def main() -> None:
    """Wait for standard input to close, then end the run's processes and remove its folder."""
    folder = Path(sys.argv[1])
    while os.read(0, 1024):
        pass
    while left := marked(folder):
        for pid in left:
            push(pid, SIGCONT)
            push(pid, SIGKILL)
    if os.environ.get("CHAOS_KEEP") is None:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
