"""Decodes untrusted bytes into pixels, equal to transformers' own loading where that succeeds.

Pillow decodes all that it can, pixel for pixel; the other readers decode the rest.
"""

from fakesweep.schema.failures import (
    CorruptImage,
    ImageEmpty,
    NotAnImage,
    TooManyPixels,
    UnsupportedImage,
)
from fakesweep.schema.formats import ImageFormat, Reader, format_of
from fakesweep.workers.sandbox.readers import camera, others, pillow, targa
from fakesweep.workers.sandbox.readers.pillow import DecodedImage
from fakesweep.workers.sandbox.readers.reasons import is_out_of_memory, reason

__all__ = ["DecodedImage", "decode"]


def decode(content: bytes, max_image_pixels: int, needed_side: int | None = None) -> DecodedImage:
    """Decode the first frame, apply its orientation and convert it to RGB of 8 bits.

    `needed_side` decodes a JPEG at a half, a quarter or an eighth of its size while both sides
    keep that many pixels: much faster, but not the reference's pixels. Thread-safe.

    Raises:
        ImageEmpty: there are no bytes.
        NotAnImage: no format of `schema/formats.py` recognises the bytes.
        TooManyPixels: the header claims more than `max_image_pixels`, or memory runs out.
        UnsupportedImage: no reader supports this format or this kind of it.
        CorruptImage: the format is known, but the pixels cannot be decoded.
    """
    if not content:
        raise ImageEmpty("the image has no bytes")
    known = format_of(content)
    taken_by = camera.camera_format(content, known)
    if taken_by is not None:
        return camera.decode(content, taken_by, max_image_pixels, needed_side)
    if known is not None and known.reader is Reader.NOTHING:
        raise UnsupportedImage(f"{known.name}, which no decoder here reads")
    try:
        return _by_pillow(content, known, max_image_pixels, needed_side)
    except (CorruptImage, NotAnImage, UnsupportedImage):
        found = _by_others(content, known, max_image_pixels)
        if found is None:
            raise
        return found


def _by_pillow(
    content: bytes, known: ImageFormat | None, max_image_pixels: int, needed_side: int | None
) -> DecodedImage:
    if known is not None and known.reader is Reader.IMAGECODECS:
        raise CorruptImage(f"{known.name} whose header cannot be read")
    return pillow.decode(content, known, max_image_pixels, needed_side)


def _by_others(
    content: bytes, known: ImageFormat | None, max_image_pixels: int
) -> DecodedImage | None:
    """Return another reader's image, or None where no other reader applies."""
    try:
        if known is None:
            return targa.decode(content, max_image_pixels)
        return others.decode(content, known, max_image_pixels)
    except (CorruptImage, NotAnImage, TooManyPixels, UnsupportedImage):
        raise
    except Exception as error:  # readers raise any class on bad bytes
        name = "TGA" if known is None else known.name
        if is_out_of_memory(error):
            raise TooManyPixels(f"{name} that needs more memory than this worker has") from error
        raise CorruptImage(f"{name} that cannot be decoded: {reason(error)}") from error
