"""TIFF directories, walked in bounded steps."""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_DIRECTORIES = 64
MAX_ENTRIES = 1_000
MAX_VALUES = 1_000_000

SUB_DIRECTORIES, _ORIENTATION = 330, 274

_CODES = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d",
          13: "I", 16: "Q", 17: "q", 18: "Q"}  # fmt: skip
_RATIONALS = {5: "I", 10: "i"}
_ORDERS = {b"II": "<", b"MM": ">"}
_BIG_VERSION = 43


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory: the location of each tag's values."""

    content: bytes
    order: str
    entries: dict[int, tuple[int, int, int]]

    def values(self, tag: int) -> tuple[int | float, ...]:
        """Return the values of a tag; empty where it is missing or leaves the file."""
        kind, count, at = self.entries.get(tag, (0, 0, 0))
        code = _CODES.get(kind)
        if code is None or count > MAX_VALUES:
            return ()
        try:
            return struct.unpack_from(f"{self.order}{count}{code}", self.content, at)
        except struct.error:
            return ()

    def number(self, tag: int, default: int = 0) -> int:
        """Return the first value of a tag as an integer."""
        found = self.values(tag)
        return int(found[0]) if found and math.isfinite(found[0]) else default

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the values of a tag as integers."""
        return tuple(int(one) for one in self.values(tag) if math.isfinite(one))

    def blob(self, tag: int) -> bytes:
        """Return the bytes of a tag."""
        kind, count, at = self.entries.get(tag, (0, 0, 0))
        return self.content[at : at + count] if kind in {1, 2, 7} else b""


def directories(content: bytes) -> Iterator[Directory]:
    """Yield the directories of the chain and their subdirectories, at most `MAX_DIRECTORIES`."""
    order = _ORDERS.get(content[:2])
    if order is None:
        return
    is_big = content[2:4] in (b"+\0", b"\0+")
    try:
        waiting = [
            struct.unpack_from(order + ("Q" if is_big else "I"), content, 8 if is_big else 4)[0]
        ]
    except struct.error:
        return
    seen: set[int] = set()
    while waiting and len(seen) < MAX_DIRECTORIES:
        position = waiting.pop(0)
        if position == 0 or position in seen or position >= len(content):
            continue
        seen.add(position)
        found = _directory(content, order, position, is_big=is_big)
        if found is None:
            continue
        directory, following = found
        yield directory
        waiting += [*directory.numbers(SUB_DIRECTORIES)[:MAX_DIRECTORIES], following]


def _directory(
    content: bytes, order: str, position: int, *, is_big: bool
) -> tuple[Directory, int] | None:
    """Return a directory and the position of the next, None where it leaves the file."""
    count_code, entry_code, link_code = ("Q", "HHQ", "Q") if is_big else ("H", "HHI", "I")
    inline_bytes = 8 if is_big else 4
    entries: dict[int, tuple[int, int, int]] = {}
    try:
        (count,) = struct.unpack_from(order + count_code, content, position)
        at = position + struct.calcsize(order + count_code)
        head_bytes = struct.calcsize(order + entry_code)
        for _ in range(min(count, MAX_ENTRIES)):
            tag, kind, values = struct.unpack_from(order + entry_code, content, at)
            place = at + head_bytes
            if values * _bytes_of(kind) > inline_bytes:
                (place,) = struct.unpack_from(order + link_code, content, place)
            entries.setdefault(tag, (kind, values, place))
            at += head_bytes + inline_bytes
        (following,) = struct.unpack_from(order + link_code, content, at)
    except struct.error:
        if not entries:
            return None
        following = 0
    return Directory(content, order, entries), following


def _bytes_of(kind: int) -> int:
    code = _CODES.get(kind)
    return 8 if kind in _RATIONALS else struct.calcsize("=" + code) if code else 1


def palette_bytes(numbers: Sequence[int]) -> bytes:
    """Return a colour map as bytes: all reds, then all greens, then all blues.

    Its numbers have 16 bits; if none exceeds 255 they count as bytes, as in libtiff.
    """
    shift = 8 if max(numbers, default=0) > 255 else 0  # noqa: PLR2004
    return bytes(number >> shift & 0xFF for number in numbers)


def orientation(directory: Directory) -> int:
    """Return the EXIF orientation, 1 by default."""
    return directory.number(_ORIENTATION, 1)
