"""Splits files at their formats' boundaries: chunks, boxes and segments."""

import struct
import zlib
from collections.abc import Iterator
from typing import Literal

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SLICES = 16


def pieces(content: bytes) -> list[bytes]:
    """Return the format's pieces; joined they are the content."""
    borders = sorted({0, *(at for at in _borders(content) if 0 < at < len(content))})
    return [
        content[start:end] for start, end in zip(borders, [*borders[1:], len(content)], strict=True)
    ]


def with_checksums(content: bytes) -> bytes:
    """Return a PNG with corrected checksums; other formats unchanged.

    Otherwise readers would refuse nearly every mutation at the first checksum.
    """
    if not content.startswith(PNG_SIGNATURE):
        return content
    repaired = bytearray(content)
    for start in _png(content):
        end = start + 8 + int.from_bytes(content[start : start + 4], "big")
        if end + 4 <= len(content):
            struct.pack_into(">I", repaired, end, zlib.crc32(content[start + 4 : end]))
    return bytes(repaired)


def _borders(content: bytes) -> Iterator[int]:
    if content.startswith(PNG_SIGNATURE):
        return _png(content)
    if content.startswith(b"\xff\xd8"):
        return _jpeg(content)
    if content.startswith(b"RIFF"):
        return _riff(content)
    if content[4:8] == b"ftyp":
        return _boxes(content, 0, len(content))
    if content.startswith((b"II*\0", b"MM\0*")):
        return _tiff(content)
    return iter(range(0, len(content), max(1, len(content) // _SLICES)))


def _png(content: bytes) -> Iterator[int]:
    at = len(PNG_SIGNATURE)
    while at + 8 <= len(content):
        yield at
        at += 12 + int.from_bytes(content[at : at + 4], "big")


def _jpeg(content: bytes) -> Iterator[int]:
    at = 2
    while 0 <= at < len(content):
        yield at
        at = content.find(b"\xff", at + 2)


def _riff(content: bytes) -> Iterator[int]:
    at = 12
    while at + 8 <= len(content):
        yield at
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8 + size + size % 2


def _boxes(content: bytes, at: int, end: int) -> Iterator[int]:
    """Walk the boxes of AVIF and HEIF and their nested boxes."""
    while at + 8 <= end:
        yield at
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        inside = {b"meta": 12, b"iprp": 8, b"ipco": 8, b"moov": 8, b"trak": 8, b"mdia": 8}
        if kind in inside:
            yield from _boxes(content, at + inside[kind], min(at + size, end))
        at += max(size, 8)


def _tiff(content: bytes) -> Iterator[int]:
    """Yield the borders of the first directory's entries."""
    order: Literal["little", "big"] = "little" if content.startswith(b"II") else "big"
    first = int.from_bytes(content[4:8], order)
    entries = int.from_bytes(content[first : first + 2], order)
    return iter(range(first + 2, first + 2 + 12 * min(entries, 200) + 1, 12))
