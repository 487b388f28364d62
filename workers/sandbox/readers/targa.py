"""TGA, which has no signature: recognised by a plausible header."""

import struct

from fakesweep.schema.failures import CorruptImage, NotAnImage
from fakesweep.workers.sandbox.readers.pillow import DecodedImage
from fakesweep.workers.sandbox.readers.pillow import decode as decode_by_pillow

_FOOTER = b"TRUEVISION-XFILE."
_HEAD_BYTES = 18
_MAPPED, _COLOURS, _GREY = 1, 2, 3
_RUN_LENGTHS = 8
_MOST_PIXELS_A_BYTE = 128


def decode(content: bytes, max_image_pixels: int) -> DecodedImage | None:
    """Return the picture, None where the bytes are no TGA.

    Raises:
        TooManyPixels: the header claims more than `max_image_pixels`.
        CorruptImage: its footer marks a TGA, but its pixels cannot be decoded.
    """
    has_footer = content[-26:-1].endswith(_FOOTER)
    if not has_footer and not _is_possible(content):
        return None
    try:
        return decode_by_pillow(content, None, max_image_pixels, formats=("TGA",))
    except (CorruptImage, NotAnImage) as error:
        if has_footer:
            raise CorruptImage("TGA whose header or pixels cannot be read") from error
        return None


def _is_possible(content: bytes) -> bool:
    """Return whether each header field is valid and fits the length of the file."""
    if len(content) <= _HEAD_BYTES:
        return False
    (id_bytes, has_map, kind, _, map_length, map_bits, _, _, width, height, bits, flags) = (
        struct.unpack_from("<BBBHHBHHHHBB", content)
    )
    base = kind & ~_RUN_LENGTHS
    if has_map > 1 or base not in {_MAPPED, _COLOURS, _GREY} or (base == _MAPPED) > has_map:
        return False
    has_sound_map = has_map == 0 or (map_bits in {15, 16, 24, 32} and map_length > 0)
    depths = {_MAPPED: {8, 16}, _GREY: {8, 16}, _COLOURS: {15, 16, 24, 32}}[base]
    if not has_sound_map or bits not in depths or flags & 0xC0 or not width * height:
        return False
    start = _HEAD_BYTES + id_bytes + map_length * ((map_bits + 7) // 8)
    pixel_bytes = width * height * ((bits + 7) // 8)
    there = len(content) - start
    if kind & _RUN_LENGTHS:
        return bool(0 < pixel_bytes <= there * _MOST_PIXELS_A_BYTE * 4)
    return bool(there >= pixel_bytes)
