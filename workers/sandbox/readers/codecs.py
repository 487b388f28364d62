"""Decoders by imagecodecs for pictures that Pillow lacks; imported at the first such picture.

Each function checks the dimensions first. It returns uint8 [height, width] or [height, width, 3],
and whether the tones were scaled to 8 bits by their own range.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from fakesweep.schema.failures import CorruptImage, DecodeFailure, TooManyPixels, UnsupportedImage
from fakesweep.workers.sandbox.readers.claims import jpeg_2000_depth, jpeg_xl_depth
from fakesweep.workers.sandbox.readers.jpeg import Frame
from fakesweep.workers.sandbox.readers.tiff import Directory, palette_bytes
from fakesweep.workers.sandbox.readers.tones import Bytes, Samples, by_bits, by_own_range

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _PLANES, _COLOURS, _FORMAT = 277, 284, 320, 339
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325
_INVERTED, _GREY, _RGB, _PALETTE, _INKS, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_BY_LIBTIFF = frozenset({_INKS, _YCBCR, _LAB, 32844, 32845})
_UNCOMPRESSED, _JPEGS = 1, frozenset({6, 7})
_KNOWN = frozenset({-1, _INVERTED, _GREY, _RGB, _PALETTE, *_BY_LIBTIFF})
_MANY_SAMPLES = 64
_BYTE_BITS = 8
_NOT_BUILT_IN = (
    "not supported",
    "not configured",
    "can not handle",
    "not implemented",
    "not coded",
)


@dataclass(frozen=True, slots=True)
class Reading:
    """Pixels, and whether they were scaled to 8 bits by their own range."""

    pixels: Bytes
    is_scaled: bool


def read_jpeg(content: bytes, frame: Frame) -> Reading:
    """Decode a JPEG that Pillow lacks: lossless, 12 bits, JPEG-LS."""
    import imagecodecs  # noqa: PLC0415 - most processes never need it

    decode = imagecodecs.jpegls_decode if frame.is_jpeg_ls else imagecodecs.jpeg_decode
    return _shown(_decoded(decode, content, "JPEG"), frame.bits)


def read_jpeg2000(content: bytes) -> Reading:
    """Decode a JPEG 2000 whose components have no mode in Pillow."""
    import imagecodecs  # noqa: PLC0415 - as above

    samples = _decoded(imagecodecs.jpeg2k_decode, content, "JPEG2000", numthreads=1)
    return _shown(samples, _depth(samples, jpeg_2000_depth(content)))


def read_jpeg_xl(content: bytes) -> Reading:
    """Decode the first frame of a JPEG XL, upright."""
    import imagecodecs  # noqa: PLC0415 - as above

    samples = _decoded(imagecodecs.jpegxl_decode, content, "JXL", index=0, numthreads=1)
    return _shown(samples, _depth(samples, jpeg_xl_depth(content)))


def read_tiff(content: bytes, directory: Directory, *, is_opened: bool) -> Reading:
    """Decode the first page of a TIFF, described by its complete first directory.

    `is_opened` means that Pillow supports its kind, so only the compressed pixels can be bad.
    Libtiff's own colour conversion fills up damaged pixels, so it is refused for those.
    """
    import imagecodecs  # noqa: PLC0415 - as above

    _check_strips(directory, len(content))
    photometric = directory.number(_PHOTOMETRIC, -1)
    samples = directory.number(_SAMPLES, 1)
    if not 1 <= samples <= _MANY_SAMPLES:
        raise CorruptImage(f"TIFF that claims {samples} samples for each pixel")
    if photometric not in _KNOWN:
        raise UnsupportedImage(f"TIFF whose colours are of kind {photometric}")
    compression = directory.number(_COMPRESSION, 1)
    if compression in _JPEGS or (
        is_opened and photometric in _BY_LIBTIFF and compression != _UNCOMPRESSED
    ):
        if compression in _JPEGS and directory.number(_BITS, 1) != _BYTE_BITS:
            raise UnsupportedImage("TIFF of JPEGs that do not have 8 bits")
        raise CorruptImage("TIFF whose compressed pixels are damaged or missing")
    if photometric in _BY_LIBTIFF:
        pixels = _decoded(imagecodecs.tiff_decode, content, "TIFF", index=0, asrgb=True)
        return Reading(np.ascontiguousarray(pixels[..., :3]), is_scaled=False)
    found = _decoded(imagecodecs.tiff_decode, content, "TIFF", index=0)
    if directory.number(_PLANES, 1) == 2 and found.ndim == 3:  # noqa: PLR2004
        found = np.moveaxis(found, 0, -1)
    if photometric == -1:
        photometric = _RGB if samples >= 3 else _GREY  # noqa: PLR2004
    bits = directory.number(_BITS, 1)
    if photometric == _PALETTE:
        return Reading(_by_palette(found, directory, bits), is_scaled=False)
    return _shown(found, bits, is_inverted=photometric == _INVERTED)


def check_tiff_size(directory: Directory, max_image_pixels: int) -> None:
    """Refuse a TIFF whose first directory claims too many pixels or none.

    Raises:
        TooManyPixels: the directory claims more than `max_image_pixels`.
        CorruptImage: the directory claims no pixels.
    """
    width, height = directory.number(_WIDTH), directory.number(_HEIGHT)
    if width < 1 or height < 1:
        raise CorruptImage("TIFF whose header cannot be read: its first page has no size")
    if width * height > max_image_pixels:
        raise TooManyPixels(
            f"TIFF of {width} x {height} pixels has more than max_image_pixels ({max_image_pixels})"
        )


def _decoded(decode: Any, content: bytes, name: str, **options: Any) -> Samples:
    try:
        samples = decode(content, **options)
    except (MemoryError, DecodeFailure):
        raise
    except Exception as error:  # codecs raise any class on bad bytes
        if any(words in str(error) for words in _NOT_BUILT_IN):
            raise UnsupportedImage(f"{name} of a kind that no decoder here reads") from error
        raise CorruptImage(f"{name} whose compressed pixels are damaged or missing") from error
    if not isinstance(samples, np.ndarray) or samples.ndim not in {2, 3} or samples.size == 0:
        raise UnsupportedImage(f"{name} of a kind that no decoder here reads")
    return samples


def _depth(samples: Samples, said: int | None) -> int:
    """Return the coded bits of samples, such as 12 in a 16-bit type."""
    room = 8 * samples.dtype.itemsize
    return said if said is not None and 0 < said <= room else room


def _shown(samples: Samples, bits: int, *, is_inverted: bool = False) -> Reading:
    """Scale samples to 8 bits: integer colours by their bits, others by their range."""
    if samples.dtype.kind == "c":
        raise UnsupportedImage("a picture of complex numbers has no tones to look at")
    colours = samples if samples.ndim == 2 else _without_alpha(samples)  # noqa: PLR2004
    if samples.dtype.kind == "u" and (bits <= _BYTE_BITS or colours.ndim == 3):  # noqa: PLR2004
        pixels = colours.astype(np.uint8) if bits == _BYTE_BITS else by_bits(colours, bits)
        return Reading(np.invert(pixels) if is_inverted else pixels, is_scaled=False)
    return Reading(by_own_range(colours, is_inverted=is_inverted), is_scaled=True)


def _without_alpha(samples: Samples) -> Samples:
    """Return grey of one or two channels as [height, width], else the first three channels."""
    channels = samples.shape[-1]
    return np.ascontiguousarray(samples[..., :3] if channels >= 3 else samples[..., 0])  # noqa: PLR2004


def _by_palette(indices: Samples, directory: Directory, bits: int) -> Bytes:
    """Look up palette colours; a 16-bit colour map has all reds, then all greens, then blues."""
    colours = np.frombuffer(palette_bytes(directory.numbers(_COLOURS)), np.uint8)
    if indices.dtype.kind != "u" or not 1 <= bits <= 16 or len(colours) != 3 * 2**bits:  # noqa: PLR2004
        raise CorruptImage("TIFF whose palette does not fit its pixels")
    table = np.ascontiguousarray(colours.reshape(3, -1).T)
    plane = indices if indices.ndim == 2 else indices[..., 0]  # noqa: PLR2004
    return table[np.minimum(plane, len(table) - 1)]


def _check_strips(directory: Directory, size_bytes: int) -> None:
    """Refuse a TIFF with missing pixels, which libtiff would leave black or uninitialised."""
    for places, sizes in ((_STRIPS, _STRIP_BYTES), (_TILES, _TILE_BYTES)):
        if places in directory.entries:
            starts, lengths = directory.numbers(places), directory.numbers(sizes)
            if len(lengths) == len(starts) and all(
                start > 0 and length > 0 and start + length <= size_bytes
                for start, length in zip(starts, lengths, strict=True)
            ):
                return
    raise CorruptImage("TIFF that ends before its pixels do, or does not say where they are")


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def upright(reading: Reading, held: int) -> Image.Image:
    """Return a reading as an upright image in mode "L" or "RGB"; `held` is EXIF's orientation."""
    image = Image.fromarray(reading.pixels)
    turn = _TURNS.get(held)
    return image if turn is None else image.transpose(turn)
