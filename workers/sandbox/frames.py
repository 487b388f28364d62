"""Counts the frames of animated images from their structure alone, in bounded time."""

import struct
from collections.abc import Iterator

from PIL import Image

# A GIF of 64 MiB has about 260,000 blocks; only a file made to waste time has more.
MAX_STEPS = 500_000
_MAX_FRAME_COUNT = 2**31 - 1  # PostgreSQL's integer; APNG headers may claim more


def count_frames(image: Image.Image, content: bytes) -> int:
    """Return the file's number of frames or pages, at least 1.

    Pillow reads the count from most headers, but walks a GIF or TIFF without bound. Those are
    walked here for at most `MAX_STEPS` steps, so a longer file's count is a lower bound.
    """
    match image.format:
        case "GIF":
            count = _count_gif(content)
        case "TIFF":
            count = _count_tiff(content)
        case _:
            count = int(getattr(image, "n_frames", 1))
    return min(max(count, 1), _MAX_FRAME_COUNT)


def _count_gif(content: bytes) -> int:
    """Count image descriptors, skipping palettes, extensions and compressed pixels."""
    count = 0
    position = 13 + _palette_bytes(content, 10)
    steps = iter(range(MAX_STEPS))
    for _ in steps:
        match content[position : position + 1]:
            case b"" | b";":
                break
            case b"!":
                position = _after_blocks(content, position + 2, steps)
            case b",":
                count += 1
                pixels = position + 11 + _palette_bytes(content, position + 9)
                position = _after_blocks(content, pixels, steps)
            case _:
                position += 1
    return count


def _palette_bytes(content: bytes, flags_at: int) -> int:
    flags = content[flags_at] if flags_at < len(content) else 0
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(content: bytes, position: int, steps: Iterator[int]) -> int:
    for _ in steps:
        size = content[position] if position < len(content) else 0
        position += size + 1
        if size == 0:
            return position
    return len(content)


def _count_tiff(content: bytes) -> int:
    """Count the directories of the chain that starts in the header."""
    order = "<" if content[:2] == b"II" else ">"
    is_big = content[2:4] in (b"+\x00", b"\x00+")
    head, count_code, entry_bytes, link = (8, "Q", 20, "Q") if is_big else (4, "H", 12, "I")
    seen: set[int] = set()
    try:
        (position,) = struct.unpack_from(order + link, content, head)
        while position and position not in seen and len(seen) < MAX_STEPS:
            seen.add(position)
            (entries,) = struct.unpack_from(order + count_code, content, position)
            after = position + struct.calcsize(order + count_code) + entries * entry_bytes
            (position,) = struct.unpack_from(order + link, content, after)
    except (struct.error, OverflowError):
        pass  # the chain leaves the file and ends there
    return len(seen)
