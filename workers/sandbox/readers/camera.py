"""Camera raw files: recognised by their directories, decoded from the embedded JPEG."""

from collections.abc import Iterator
from dataclasses import replace

from fakesweep.schema.failures import CorruptImage, NotAnImage, UnsupportedImage
from fakesweep.schema.formats import NAMED, ImageFormat
from fakesweep.schema.words import ReadAs
from fakesweep.workers.sandbox.readers import pillow
from fakesweep.workers.sandbox.readers.jpeg import Frame, frame_of
from fakesweep.workers.sandbox.readers.tiff import Directory, directories

MAX_PREVIEWS = 64

_COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _ORIENTATION = 259, 262, 273, 274
_JPEG_OFFSET, _DNG_VERSION, _PANASONIC_JPEG = 513, 50706, 46
_SENSOR = frozenset({32803, 34892})
"""Photometric interpretations of raw sensor values: colour filter array, linear raw."""

_JPEG_COMPRESSIONS = frozenset({6, 7})
_RAF_JPEG_AT = 84


def camera_format(content: bytes, known: ImageFormat | None) -> ImageFormat | None:
    """Return RAW or DNG for a camera file, otherwise None."""
    if known is NAMED["RAW"]:
        return known
    if known is not NAMED["TIFF"]:
        return None
    is_camera = False
    for number, directory in enumerate(directories(content)):
        if number == 0 and _DNG_VERSION in directory.entries:
            return NAMED["DNG"]
        is_camera = is_camera or directory.number(_PHOTOMETRIC) in _SENSOR
    return NAMED["RAW"] if is_camera else None


def decode(
    content: bytes, known: ImageFormat, max_image_pixels: int, needed_side: int | None
) -> pillow.DecodedImage:
    """Decode the JPEG that the camera embedded beside the sensor values.

    Raises:
        TooManyPixels: its header claims more than `max_image_pixels`.
        UnsupportedImage: the file has no embedded JPEG.
        CorruptImage: the embedded JPEG cannot be decoded.
    """
    shown = preview(content)
    try:
        if shown is not None:
            found = pillow.decode(
                shown, NAMED["JPEG"], max_image_pixels, needed_side,
                formats=("JPEG",), held=orientation(content),
            )  # fmt: skip
        elif has_own_picture(content):
            found = pillow.decode(content, NAMED["TIFF"], max_image_pixels, formats=("TIFF",))
        else:
            raise UnsupportedImage(f"{known.name} of a camera without a picture to show in it")
    except (CorruptImage, NotAnImage) as error:
        raise CorruptImage(f"{known.name} whose own picture is broken: {error}") from error
    return replace(found, format=known.name, read_as=ReadAs.PREVIEW, frame_count=1)


def preview(content: bytes) -> bytes | None:
    """Return the file's bytes from its largest referenced JPEG on.

    Without a known reference it is the largest JPEG anywhere in the file.
    """
    largest = _largest(content, _referred_to(content))
    if largest is None:
        largest = _largest(content, _anywhere(content))
    return None if largest is None else content[largest:]


def orientation(content: bytes) -> int:
    """Return the EXIF orientation of the camera, 1 by default."""
    first = next(directories(content), None)
    return 1 if first is None else first.number(_ORIENTATION, 1)


def has_own_picture(content: bytes) -> bool:
    """Return whether the first directory is a picture rather than sensor values."""
    first = next(directories(content), None)
    return first is not None and first.number(_PHOTOMETRIC, -1) not in {-1, *_SENSOR}


def _largest(content: bytes, positions: Iterator[int]) -> int | None:
    found: list[tuple[int, int]] = []
    for _, position in zip(range(MAX_PREVIEWS), positions, strict=False):
        frame = frame_of(content, position)
        if frame is not None and _shows(frame):
            found.append((frame.width * frame.height, -position))
    return -max(found)[1] if found else None


def _shows(frame: Frame) -> bool:
    return frame.is_usual and frame.components in {1, 3} and frame.width * frame.height > 0


def _referred_to(content: bytes) -> Iterator[int]:
    if content.startswith(b"FUJIFILM"):
        yield int.from_bytes(content[_RAF_JPEG_AT : _RAF_JPEG_AT + 4], "big")
        return
    for directory in directories(content):
        yield from _jpegs_of(directory)


def _jpegs_of(directory: Directory) -> Iterator[int]:
    yield from directory.numbers(_JPEG_OFFSET)[:1]
    is_jpeg = directory.number(_COMPRESSION) in _JPEG_COMPRESSIONS
    strips = directory.numbers(_STRIP_OFFSETS)
    if is_jpeg and len(strips) == 1:
        yield strips[0]
    if _PANASONIC_JPEG in directory.entries:
        yield directory.entries[_PANASONIC_JPEG][2]


def _anywhere(content: bytes) -> Iterator[int]:
    at = content.find(b"\xff\xd8\xff")
    while at >= 0:
        yield at
        at = content.find(b"\xff\xd8\xff", at + 3)
