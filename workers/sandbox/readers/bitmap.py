"""Windows bitmaps that Pillow lacks: arbitrary bit fields, and embedded JPEG or PNG."""

import struct
from dataclasses import dataclass

import numpy as np

from fakesweep.schema.failures import CorruptImage, TooManyPixels
from fakesweep.workers.sandbox.readers.tones import Bytes

_FILE_HEAD_BYTES = 14
_HEAD_BYTES = 40
_BIT_FIELDS, _JPEG, _PNG, _ALPHA_BIT_FIELDS = 3, 4, 5, 6
_USUAL_BITS, _RUN_LENGTHS = frozenset({1, 4, 8, 16, 24, 32}), frozenset({1, 2})
_BITS = frozenset({0, 1, 2, 4, 8, 16, 24, 32, 64})
_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class Bitmap:
    """Header of a bitmap; `masks` are those of red, green and blue."""

    width: int
    height: int
    bits: int
    compression: int
    pixels_at: int
    masks: tuple[int, int, int]
    is_upside_down: bool

    @property
    def holds_another(self) -> bool:
        """Whether its pixels are an embedded JPEG or PNG."""
        return self.compression in {_JPEG, _PNG}

    @property
    def is_possible(self) -> bool:
        """Whether its depth and compression exist."""
        return self.bits in _BITS and self.compression <= _ALPHA_BIT_FIELDS

    @property
    def is_usual(self) -> bool:
        """Whether Pillow supports such bitmaps, so that a refusal means bad bytes."""
        return self.compression in _RUN_LENGTHS or self.bits in _USUAL_BITS

    @property
    def has_bit_fields(self) -> bool:
        """Whether masks locate the colours within a pixel."""
        return self.compression in {_BIT_FIELDS, _ALPHA_BIT_FIELDS} and self.bits in {16, 32}


def bitmap_of(content: bytes) -> Bitmap | None:
    """Return a BMP's header, None where it is too short or of another kind."""
    try:
        (pixels_at,) = struct.unpack_from("<I", content, 10)
        head_bytes, width, height, _, bits, compression = struct.unpack_from(
            "<IiiHHI", content, _FILE_HEAD_BYTES
        )
        masks = struct.unpack_from("<III", content, _FILE_HEAD_BYTES + _HEAD_BYTES)
    except struct.error:
        return None
    if head_bytes < _HEAD_BYTES or width < 1 or height == 0:
        return None
    return Bitmap(width, abs(height), bits, compression, pixels_at, masks, height > 0)


def read_bit_fields(content: bytes, bitmap: Bitmap, max_image_pixels: int) -> Bytes:
    """Return the pixels of a bitmap of bit fields, [height, width, 3].

    Raises:
        TooManyPixels: the header claims more than `max_image_pixels`.
        CorruptImage: pixels are missing, or the masks are invalid.
    """
    name = f"BMP of {bitmap.width} x {bitmap.height} pixels"
    if bitmap.width * bitmap.height > max_image_pixels:
        raise TooManyPixels(f"{name} has more than max_image_pixels ({max_image_pixels})")
    bytes_each = bitmap.bits // 8
    row_bytes = (bitmap.width * bytes_each + 3) // 4 * 4
    rows = content[bitmap.pixels_at : bitmap.pixels_at + row_bytes * bitmap.height]
    if len(rows) < row_bytes * bitmap.height:
        raise CorruptImage(f"{name} cannot be decoded: it ends before its pixels do")
    table = np.frombuffer(rows, np.uint8).reshape(bitmap.height, row_bytes)
    packed = np.ascontiguousarray(table[:, : bitmap.width * bytes_each]).view(f"<u{bytes_each}")
    pixels = np.empty((bitmap.height, bitmap.width, _CHANNELS), np.uint8)
    for channel, mask in enumerate(bitmap.masks):
        pixels[..., channel] = _channel(packed, mask, name)
    return pixels[::-1] if bitmap.is_upside_down else pixels


def _channel(
    packed: "np.ndarray[tuple[int, ...], np.dtype[np.unsignedinteger]]", mask: int, name: str
) -> Bytes:
    """Return the bits of one mask, scaled to 8; an empty mask gives black."""
    if mask == 0:
        return np.zeros(packed.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    greatest = mask >> shift
    if greatest & (greatest + 1):
        raise CorruptImage(f"{name} cannot be decoded: its colour masks have gaps")
    values = (packed.astype(np.uint64) & mask) >> shift
    return (values * 255 // greatest).astype(np.uint8)
