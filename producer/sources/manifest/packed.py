"""Stored lists: optional gzip, and any of three line endings."""

import gzip
import io
import zlib
from typing import Any, BinaryIO, cast

from fakesweep.producer.sources.spooled import check_size
from fakesweep.schema.errors import SourceError
from fakesweep.schema.settings import Settings

_GZIP = b"\x1f\x8b"
_PEEK_BYTES = 64 * 1024
_UTF16_BYTES = 64
_SHORTEST_UTF16 = 4


def opened_list(
    stream: BinaryIO, name: str, settings: Settings, *, is_head: bool = False
) -> BinaryIO:
    """Return a list's unpacked bytes, with line feeds as line endings.

    Carriage returns count as line endings if the first 64 KiB have no line feed. With `is_head`
    the stream may be truncated.

    Raises:
        SourceError: the list is UTF-16; or, while read, it is broken gzip or too large.
    """
    peeked = _buffered(stream)
    if peeked.peek(len(_GZIP)).startswith(_GZIP):
        peeked = io.BufferedReader(_Unpacked(peeked, name, settings, is_head=is_head))
    begin = peeked.peek(_PEEK_BYTES)[:_PEEK_BYTES]
    if _is_utf16(begin[:_UTF16_BYTES]):
        raise SourceError(f"{name} is UTF-16 text; save it as UTF-8")
    if b"\r" in begin[:-1] and b"\n" not in begin:
        peeked = io.BufferedReader(_LineFeeds(peeked))
    return cast("BinaryIO", peeked)


class _Unpacked(io.RawIOBase):
    """Gunzipped stream, limited to the size of a list."""

    def __init__(self, stream: Any, name: str, settings: Settings, *, is_head: bool) -> None:
        self._unpacked = gzip.GzipFile(fileobj=stream)
        self._name, self._settings, self._is_head = name, settings, is_head
        self._size_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._unpacked.read1(len(buffer))
        except (EOFError, OSError, zlib.error) as error:
            if self._is_head and isinstance(error, EOFError):
                return 0
            raise SourceError(f"{self._name} is packed by gzip, and broken: {error}") from error
        self._size_bytes += len(piece)
        check_size(self._size_bytes, self._name, self._settings)
        buffer[: len(piece)] = piece
        return len(piece)


class _LineFeeds(io.RawIOBase):
    """Stream with carriage returns replaced by line feeds."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._stream.read1(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(piece)] = piece
        return len(piece)


def _buffered(stream: Any) -> Any:
    return stream if hasattr(stream, "peek") else io.BufferedReader(stream)


def _is_utf16(begin: bytes) -> bool:
    """Return whether exactly every second byte is zero, as in UTF-16 without a byte order mark."""
    even, odd = begin[0::2], begin[1::2]
    if len(begin) < _SHORTEST_UTF16:
        return False
    return (not any(even) and all(odd)) or (not any(odd) and all(even))
