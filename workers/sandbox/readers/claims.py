"""Sizes claimed by headers that Pillow does not check before decoding."""

import struct
from collections.abc import Iterator

MAX_BOXES = 10_000
_BOX_HEAD, _LARGE_BOX_HEAD = 8, 16

_JXL_SIGNATURE = b"\xff\x0a"
_JXL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_JXL_BITS = (9, 13, 18, 30)
_JXL_HEAD_BYTES = 64
_JXL_DEPTHS = (8, 10, 12)
_SIZ_COMPONENTS_AT = 40


def boxes(content: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield each box's kind and the start and end of its contents, as in HEIF and JPEG 2000."""
    end = len(content) if end is None else min(end, len(content))
    for _ in range(MAX_BOXES):
        if at + _BOX_HEAD > end:
            return
        size, kind = struct.unpack_from(">I4s", content, at)
        head = _BOX_HEAD
        if size == 1:
            if at + _LARGE_BOX_HEAD > end:
                return
            (size,) = struct.unpack_from(">Q", content, at + _BOX_HEAD)
            head = _LARGE_BOX_HEAD
        stop = end if size == 0 else min(at + size, end)
        if size != 0 and size < head:
            return
        yield kind, at + head, stop
        at = stop


def jpeg_xl_size(content: bytes) -> tuple[int, int] | None:
    """Return a JPEG XL's stored width and height, before orientation; None where unknown."""
    bits = _jpeg_xl_head(content)
    return None if bits is None else _take_size(bits)


def jpeg_xl_depth(content: bytes) -> int | None:
    """Return the bits of a JPEG XL's samples, None where unknown."""
    bits = _jpeg_xl_head(content)
    if bits is None:
        return None
    _take_size(bits)
    if bits.take(1):  # all defaults
        return 8
    if bits.take(1):
        bits.take(3)  # orientation
        if bits.take(1):
            _take_size(bits)
        if bits.take(1):
            _take_preview(bits)
        if bits.take(1):
            _take_animation(bits)
    is_float, choice = bits.take(1), bits.take(2)
    if is_float:
        return None
    return _JXL_DEPTHS[choice] if choice < len(_JXL_DEPTHS) else bits.take(6) + 1


def _jpeg_xl_head(content: bytes) -> "_Bits | None":
    stream = content[:_JXL_HEAD_BYTES]
    if not stream.startswith(_JXL_SIGNATURE):
        stream = _jpeg_xl_stream(content)
    if not stream.startswith(_JXL_SIGNATURE):
        return None
    return _Bits(stream[len(_JXL_SIGNATURE) :])


def _take_size(bits: "_Bits") -> tuple[int, int]:
    if bits.take(1):  # small: both sides are multiples of eight
        height = 8 * (bits.take(5) + 1)
        ratio = bits.take(3)
        width = 8 * (bits.take(5) + 1) if ratio == 0 else 0
    else:
        height = bits.take(_JXL_BITS[bits.take(2)]) + 1
        ratio = bits.take(3)
        width = bits.take(_JXL_BITS[bits.take(2)]) + 1 if ratio == 0 else 0
    if ratio:
        across, down = _JXL_RATIOS[ratio]
        width = height * across // down
    return width, height


def _take_preview(bits: "_Bits") -> None:
    lengths = ((0, 0, 5, 9), (6, 8, 10, 12))[1 - bits.take(1)]
    bits.take(lengths[bits.take(2)])
    if bits.take(3) == 0:
        bits.take(lengths[bits.take(2)])


def _take_animation(bits: "_Bits") -> None:
    for lengths in ((0, 0, 10, 30), (0, 0, 8, 10), (0, 3, 16, 32)):
        bits.take(lengths[bits.take(2)])
    bits.take(1)


def _jpeg_xl_stream(content: bytes) -> bytes:
    """Return the start of the codestream, joined from its boxes."""
    stream = b""
    for kind, start, end in boxes(content):
        if kind == b"jxlc":
            return content[start : min(end, start + _JXL_HEAD_BYTES)]
        if kind == b"jxlp":
            stream += content[start + 4 : min(end, start + 4 + _JXL_HEAD_BYTES)]
        if len(stream) >= _JXL_HEAD_BYTES:
            break
    return stream


def jpeg_2000_size(content: bytes) -> tuple[int, int] | None:
    """Return the largest size claimed by a JPEG 2000's header or codestream."""
    sizes = [
        struct.unpack_from(">II", content, inner)[::-1]
        for kind, start, end in _jpeg_2000_boxes(content)
        if kind == b"jp2h"
        for name, inner, stop in boxes(content, start, end)
        if name == b"ihdr" and stop - inner >= 8  # noqa: PLR2004
    ]
    stream = _jpeg_2000_stream(content)
    if stream is not None:
        try:
            right, bottom, left, top = struct.unpack_from(">IIII", content, stream + 8)
        except struct.error:
            return None
        sizes.append((max(right - left, 0), max(bottom - top, 0)))
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def jpeg_2000_depth(content: bytes) -> int | None:
    """Return the bits of a JPEG 2000's deepest component, None where unknown."""
    stream = _jpeg_2000_stream(content)
    if stream is None:
        return None
    at = stream + _SIZ_COMPONENTS_AT
    components = int.from_bytes(content[at : at + 2], "big")
    depths = content[at + 2 : at + 2 + 3 * components : 3]
    return max(((depth & 0x7F) + 1 for depth in depths), default=None)


def _jpeg_2000_boxes(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    return iter(()) if content.startswith(b"\xff\x4f") else boxes(content)


def _jpeg_2000_stream(content: bytes) -> int | None:
    """Return the start of the last codestream with a size, None without one."""
    stream = 0 if content.startswith(b"\xff\x4f") else None
    for kind, start, _ in _jpeg_2000_boxes(content):
        if kind == b"jp2c":
            stream = start
    if stream is None or content[stream + 2 : stream + 4] != b"\xff\x51":
        return None
    return stream


def icon_sizes(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the sizes claimed by the pictures within an icon; the icon's own may be wrong."""
    (count,) = struct.unpack_from("<H", content, 4)
    for number in range(count):
        entry = content[6 + 16 * number : 22 + 16 * number]
        if len(entry) < 16:  # noqa: PLR2004
            return
        (at,) = struct.unpack_from("<I", entry, 12)
        if content[at : at + 8] == b"\x89PNG\r\n\x1a\n" and at + 24 <= len(content):
            yield struct.unpack_from(">II", content, at + 16)
        elif at + 12 <= len(content):
            width, height = struct.unpack_from("<ii", content, at + 4)
            yield abs(width), abs(height)


class _Bits:
    """Bit reader, lowest bit of each byte first; zeros follow the end."""

    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken
