"""JPEG markers: the frame header, read before decoding."""

from dataclasses import dataclass

MAX_MARKERS = 10_000
_STANDALONE = frozenset({0x01, *range(0xD0, 0xDA)})
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_USUAL = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
_JPEG_LS, _LOSSLESS = 0xF7, 0xC3
_SCAN, _FILL = 0xDA, 0xFF


@dataclass(frozen=True, slots=True)
class Frame:
    """A JPEG's frame header; `process` is its marker's second byte."""

    process: int
    bits: int
    width: int
    height: int
    components: int

    @property
    def is_usual(self) -> bool:
        """Whether Pillow supports such a frame, so that a refusal means bad bytes."""
        return self.process in _USUAL and self.bits == 8  # noqa: PLR2004

    @property
    def is_jpeg_ls(self) -> bool:
        """Whether it is JPEG-LS, a separate standard with the same signature."""
        return self.process == _JPEG_LS


def frame_of(content: bytes, start: int = 0) -> Frame | None:
    """Return the first frame header of the JPEG at `start`, None without one."""
    if content[start : start + 2] != b"\xff\xd8":
        return None
    at = start + 2
    for _ in range(MAX_MARKERS):
        if at + 4 > len(content) or content[at] != _FILL:
            return None
        marker = content[at + 1]
        if marker == _FILL or marker in _STANDALONE:
            at += 1 if marker == _FILL else 2
            continue
        if marker in _FRAMES:
            body = content[at + 4 : at + 10]
            if len(body) < 6:  # noqa: PLR2004
                return None
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            return Frame(marker, body[0], width, height, body[5])
        if marker == _SCAN:
            return None
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None
