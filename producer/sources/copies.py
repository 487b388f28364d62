"""Copies of remote files: a listing may pause for longer than a server keeps a connection open."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedRandom

from producer.sources.refusals import BrokenOff


@contextmanager
def copied(read: Callable[[], Iterable[bytes]], attempts: int) -> Iterator[BufferedRandom]:
    """Open a temporary file with what is read, from the start again each time that breaks off.

    Raises:
        BrokenOff: it broke off at the last attempt, too.
    """
    with tempfile.TemporaryFile(prefix="fakesweep-copy-") as copy:
        for attempts_left in reversed(range(attempts)):
            try:
                for piece in read():
                    copy.write(piece)
                break
            except BrokenOff:
                if attempts_left == 0:
                    raise
                copy.seek(0)
                copy.truncate()
        copy.seek(0)
        yield copy
