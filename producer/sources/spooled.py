"""Spooled copies of remote files: a listing may outlast the server's connection."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedRandom
from typing import IO

from fakesweep.producer.sources.deadlines import TimedConnections, cut_after
from fakesweep.producer.sources.errors import BrokenOff
from fakesweep.producer.sources.names import shown
from fakesweep.producer.watchdog import progressed
from fakesweep.schema.errors import SourceError
from fakesweep.schema.settings import Settings


@contextmanager
def copied(
    read: Callable[[str, Settings], Iterable[bytes]], source: str, settings: Settings
) -> Iterator[BufferedRandom]:
    """Copy a remote file into a temporary one; a broken transfer starts again.

    Raises:
        SourceError: the file cannot be read, took too long or is too large; `BrokenOff` where the
            last attempt broke off too.
    """
    with tempfile.TemporaryFile(prefix="fakesweep-copy-") as copy:
        with limited(source, settings) as connections:
            _copy(partial(read, source, settings), source, settings, connections, copy)
        copy.seek(0)
        yield copy


@contextmanager
def limited(source: str, settings: Settings) -> Iterator[TimedConnections]:
    """Shut down the context's connections at the list timeout.

    Raises:
        SourceError: the timeout passed.
    """
    with cut_after(settings.list_timeout_seconds) as connections:
        try:
            yield connections
        except Exception as error:
            if connections.is_cut:
                raise late(source, settings) from error
            raise


def late(source: str, settings: Settings) -> SourceError:
    """Return the error for a list that took too long."""
    return SourceError(
        f"{shown(source)} was not whole within {settings.list_timeout_seconds:g} s; raise "
        f"FAKESWEEP_LIST_TIMEOUT_SECONDS if its server is that slow"
    )


def check_size(size_bytes: int, name: str, settings: Settings) -> None:
    """Refuse a list that is too large, packed or unpacked.

    Raises:
        SourceError: the list is too large; the message names the setting.
    """
    if size_bytes > settings.max_list_bytes:
        raise SourceError(
            f"{name} has more than {settings.max_list_bytes} bytes, unpacked if it comes packed; "
            f"split it, or raise FAKESWEEP_MAX_LIST_BYTES"
        )


def _copy(
    read: Callable[[], Iterable[bytes]],
    source: str,
    settings: Settings,
    connections: TimedConnections,
    copy: IO[bytes],
) -> None:
    for attempts_left in reversed(range(settings.fetch_attempts)):
        try:
            for piece in read():
                if connections.is_cut:
                    raise late(source, settings)
                check_size(copy.tell() + len(piece), shown(source), settings)
                copy.write(piece)
                progressed()
        except BrokenOff:
            if attempts_left == 0 or connections.is_cut:
                raise
            copy.seek(0)
            copy.truncate()
        else:
            break
    if connections.is_cut:  # an answer without a length ends early unnoticed
        raise late(source, settings)
