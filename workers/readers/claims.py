"""What headers claim of a picture's size, where Pillow does not look before it decodes."""

import struct
from collections.abc import Iterator

MAX_BOXES = 10_000
_BOX_HEAD, _LARGE_BOX_HEAD = 8, 16

_JXL_SIGNATURE = b"\xff\x0a"
_JXL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_JXL_BITS = (9, 13, 18, 30)


def boxes(content: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, beginning and end of the contents of each box, as in HEIF and JPEG 2000."""
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
    """Return width and height as a JPEG XL stores them, before it is turned; None where unsaid."""
    stream = content[:64]
    if not stream.startswith(_JXL_SIGNATURE):
        stream = _jpeg_xl_stream(content)
    if not stream.startswith(_JXL_SIGNATURE):
        return None
    bits = _Bits(stream[2:])
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


def _jpeg_xl_stream(content: bytes) -> bytes:
    for kind, start, end in boxes(content):
        if kind == b"jxlc":
            return content[start : min(end, start + 64)]
        if kind == b"jxlp":
            return content[start + 4 : min(end, start + 68)]
    return b""


def jpeg_2000_size(content: bytes) -> tuple[int, int] | None:
    """Return the largest size that a JPEG 2000's header or codestream claims."""
    sizes = []
    stream = 0 if content.startswith(b"\xff\x4f") else -1
    for kind, start, end in boxes(content) if stream else ():
        if kind == b"jp2h":
            sizes += [
                struct.unpack_from(">II", content, inner)[::-1]
                for name, inner, stop in boxes(content, start, end)
                if name == b"ihdr" and stop - inner >= 8  # noqa: PLR2004
            ]
        elif kind == b"jp2c":
            stream = start
    if stream >= 0 and content[stream + 2 : stream + 4] == b"\xff\x51":
        try:
            right, bottom, left, top = struct.unpack_from(">IIII", content, stream + 8)
        except struct.error:
            return None
        sizes.append((max(right - left, 0), max(bottom - top, 0)))
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def icon_sizes(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the sizes that the pictures within an icon claim themselves, whatever the icon says."""
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
    """Takes bits, the lowest of each byte first; there are zeros behind the end."""

    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken
