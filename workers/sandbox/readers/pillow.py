"""Decoding by Pillow and its HEIF plug-in, equal to the reference's pixels."""

import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import pillow_heif
from PIL import AvifImagePlugin, ExifTags, Image, ImageOps, UnidentifiedImageError

from fakesweep.schema.failures import CorruptImage, NotAnImage, TooManyPixels, UnsupportedImage
from fakesweep.schema.formats import READ, ImageFormat
from fakesweep.schema.words import ReadAs
from fakesweep.workers.sandbox.frames import count_frames
from fakesweep.workers.sandbox.readers import tones
from fakesweep.workers.sandbox.readers.claims import icon_sizes, jpeg_2000_size
from fakesweep.workers.sandbox.readers.reasons import is_not_built_in, is_out_of_memory, reason
from fakesweep.workers.sandbox.readers.tiff import palette_bytes

# AVIF precedes HEIF: both claim the generic container brands, and only Pillow's AVIF reader
# refuses files of the other kind at opening. TGA has no signature: see `targa`.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF", "JPEG2000", "PSD", "PPM",
           "DIB", "ICO", "CUR")  # fmt: skip

_SCALED_WHILE_DECODED = ("JPEG", "MPO")
_LARGEST_JPEG_SIDE = 65_500
_TURNED = (5, 6, 7, 8)
_PILLOW_MODULES = r"(PIL|pillow_heif)\b"
_PHOTOMETRIC, _MIN_IS_WHITE, _COLOUR_MAP = 262, 0, 320

pillow_heif.register_heif_opener()
Image.init()  # registers every reader before threads start
Image.MAX_IMAGE_PIXELS = None  # `max_image_pixels` is checked before decoding instead
# Loaders already use every core, and an image's processor time is limited.
AvifImagePlugin.DEFAULT_MAX_THREADS = pillow_heif.options.DECODE_THREADS = 1


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """The first frame of an image, upright.

    `pixels` is RGB; its `info` keeps only `transparency`, the colour that some models'
    preprocessing paints white. `width` and `height` are pixels after orientation. `format` is a
    name of `schema/formats.py`, or MPO, a JPEG of several pictures.
    """

    pixels: Image.Image
    width: int
    height: int
    format: str
    frame_count: int
    read_as: ReadAs = ReadAs.IMAGE


def decode(
    content: bytes,
    known: ImageFormat | None,
    max_image_pixels: int,
    needed_side: int | None = None,
    *,
    formats: tuple[str, ...] = FORMATS,
    held: int | None = None,
) -> DecodedImage:
    """Decode the first frame with Pillow, apply its EXIF orientation and convert it to RGB.

    `known` is the format by the first bytes; `held` is the orientation of a picture without its
    own.

    Raises:
        NotAnImage: no format of `formats` recognises the bytes.
        TooManyPixels: the header claims more than `max_image_pixels`, or memory runs out.
        UnsupportedImage: its reader does not support this kind.
        CorruptImage: the format is known, but the pixels cannot be decoded.
    """
    silence()
    if known is not None and known.name in {
        "ICO",
        "CUR",
    }:  # Pillow decodes these at opening
        _check_sizes(known.name, icon_sizes(content), max_image_pixels)
    with _open(content, known, formats) as image:
        name = (image.format or "").upper()
        claimed = f"{name} of {image.width} x {image.height} pixels"
        _check_claims(image, name, content, max_image_pixels)
        try:
            shown = _loaded_size(image, name, needed_side)
            if held is not None and ExifTags.Base.Orientation not in image.getexif():
                image.getexif()[ExifTags.Base.Orientation] = held
            if _is_turned(image):
                shown = shown[::-1]
            pixels, read_as = _upright_rgb(image)
            frame_count = count_frames(image, content)
        except Exception as error:  # Pillow's readers raise any class on bad bytes
            if is_out_of_memory(error):
                raise TooManyPixels(f"{claimed} needs more memory than this worker has") from error
            if is_not_built_in(error):
                raise UnsupportedImage(f"{claimed} of a kind that no decoder here reads") from error
            raise CorruptImage(f"{claimed} cannot be decoded: {reason(error)}") from error
    if shown[0] * shown[1] > max_image_pixels:  # may exceed the header's size
        raise TooManyPixels(
            f"{claimed} turned out to have {shown[0]} x {shown[1]}, more than max_image_pixels "
            f"({max_image_pixels})"
        )
    if name == "PSD":
        read_as = ReadAs.COMPOSITE
    return DecodedImage(pixels, *shown, name, frame_count, read_as)


def opens(content: bytes) -> bool:
    """Return whether Pillow supports the kind of a TIFF, even if its pixels are bad."""
    try:
        with Image.open(io.BytesIO(content), formats=("TIFF",)):
            return True
    except Exception:  # noqa: BLE001 - as above
        return False


def _open(content: bytes, known: ImageFormat | None, formats: tuple[str, ...]) -> Image.Image:
    try:
        if known is not None and known.name == "HEIF" and "HEIF" in formats:
            return Image.OPEN["HEIF"][0](io.BytesIO(content), "")
        return Image.open(io.BytesIO(content), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels(reason(error)) from error
    except UnidentifiedImageError as error:
        if known is None:
            raise NotAnImage(f"the bytes are none of the formats {', '.join(READ)}") from error
        raise CorruptImage(f"{known.name} whose header cannot be read") from error
    except Exception as error:  # Pillow's readers raise any class on bad bytes
        if is_out_of_memory(error):
            raise TooManyPixels("opening it needs more memory than this worker has") from error
        name = "a picture" if known is None else known.name
        raise CorruptImage(f"{name} whose header cannot be read: {reason(error)}") from error


def _check_claims(image: Image.Image, name: str, content: bytes, max_image_pixels: int) -> None:
    """Refuse sizes above the limit in any header of the file, before decoding."""
    in_stream = jpeg_2000_size(content) if name == "JPEG2000" else None
    _check_sizes(name, filter(None, [image.size, in_stream]), max_image_pixels)
    if name in _SCALED_WHILE_DECODED and max(image.size) > _LARGEST_JPEG_SIDE:
        raise TooManyPixels(
            f"{name} of {image.width} x {image.height} pixels is larger than its decoder takes "
            f"({_LARGEST_JPEG_SIDE} a side)"
        )


def _check_sizes(name: str, sizes: Iterable[tuple[int, int]], max_image_pixels: int) -> None:
    for width, height in sizes:
        if width * height > max_image_pixels:
            raise TooManyPixels(
                f"{name} of {width} x {height} pixels has more than max_image_pixels "
                f"({max_image_pixels})"
            )


def _loaded_size(image: Image.Image, name: str, needed_side: int | None) -> tuple[int, int]:
    """Decode the first frame; return its size before any scaling."""
    size = image.size
    if needed_side is None or name not in _SCALED_WHILE_DECODED:
        image.load()
        return image.size
    image.draft(None, (needed_side, needed_side))
    image.load()
    return size


def _is_turned(image: Image.Image) -> bool:
    """Return whether the EXIF orientation swaps width and height."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) in _TURNED
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - unreadable EXIF is ignored; the pixels are good
        return False


def _upright_rgb(image: Image.Image) -> tuple[Image.Image, ReadAs]:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001, S110 - unreadable EXIF is ignored; the pixels are good
        pass
    if tones.is_wide(image):
        tags = getattr(image, "tag_v2", {})
        is_inverted = tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE
        return tones.grey_of(image, is_inverted=is_inverted).convert("RGB"), ReadAs.SCALED
    if image.mode == "P" and image.format == "TIFF":
        _widen_palette(image)
    pixels = image.convert("RGB")
    colour = pixels.info.get("transparency")
    pixels.info = {} if colour is None else {"transparency": colour}
    return pixels, ReadAs.IMAGE


def _widen_palette(image: Image.Image) -> None:
    """Fix a TIFF's colour map of bytes, which Pillow reads as 16-bit numbers."""
    numbers = getattr(image, "tag_v2", {}).get(_COLOUR_MAP, ())
    if numbers and max(numbers) <= 255:  # noqa: PLR2004
        count = len(numbers) // 3
        planes = palette_bytes(numbers)
        places = (at + of for at in range(count) for of in (0, count, 2 * count))
        image.putpalette(bytes(planes[place] for place in places))


def silence() -> None:
    """Suppress Pillow's warnings about bad files.

    `warnings.catch_warnings` is not thread-safe, so the filter stays. It is restored where
    others, such as a test runner, have replaced the filters.
    """
    if not any(
        action == "ignore" and module is not None and module.pattern == _PILLOW_MODULES
        for action, _, _, module, _ in warnings.filters
    ):
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES)
