"""Makes pixels of untrusted bytes, exactly the pixels that transformers' own loading gives."""

import io
import warnings
from dataclasses import dataclass

import pillow_heif
from PIL import AvifImagePlugin, ExifTags, Image, ImageOps, UnidentifiedImageError

from schema.failures import CorruptImage, ImageEmpty, NotAnImage, TooManyPixels
from schema.words import ReadAs
from workers.frames import count_frames
from workers.wording import one_line

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")

_SCALED_WHILE_DECODED = ("JPEG", "MPO")
_TURNED = (5, 6, 7, 8)
_PILLOW_MODULES = r"(PIL|pillow_heif)\b"

pillow_heif.register_heif_opener()
Image.init()  # every reader is registered before threads could race for it
Image.MAX_IMAGE_PIXELS = None  # `max_image_pixels` decides, and refuses before decoding
# Loaders use every core already, and an image's processor time is limited.
AvifImagePlugin.DEFAULT_MAX_THREADS = pillow_heif.options.DECODE_THREADS = 1


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """The first frame of an image, upright.

    `pixels` is RGB; of Pillow's facts about the file it keeps only `transparency`, the colour
    that some models' preprocessing paints white. `width` and `height` are pixels as shown,
    `format` is Pillow's name (JPEG, MPO, PNG, WEBP, GIF, TIFF, BMP, AVIF, HEIF).
    """

    pixels: Image.Image
    width: int
    height: int
    format: str
    frame_count: int
    read_as: ReadAs = ReadAs.IMAGE


def decode(content: bytes, max_image_pixels: int, needed_side: int | None = None) -> DecodedImage:
    """Decode the first frame, apply its EXIF orientation and convert it to RGB.

    Where `needed_side` is given, a JPEG is decoded at a half, a quarter or an eighth of its size
    as long as both sides keep that many pixels: far quicker, but not the reference's pixels. Safe
    to call from many threads.

    Raises:
        ImageEmpty: there are no bytes.
        NotAnImage: no format of `FORMATS` recognises the bytes.
        TooManyPixels: the header claims more than `max_image_pixels`, or memory runs out.
        CorruptImage: the format is known, but the pixels cannot be decoded.
    """
    if not content:
        raise ImageEmpty("the image has no bytes")
    _silence_pillow()
    with _open(content) as image:
        name = (image.format or "").upper()
        claimed = f"{name} of {image.width} x {image.height} pixels"
        if image.width * image.height > max_image_pixels:
            raise TooManyPixels(f"{claimed} has more than max_image_pixels ({max_image_pixels})")
        try:
            shown = _loaded_size(image, name, needed_side)
            if _is_turned(image):
                shown = shown[::-1]
            pixels = _upright_rgb(image)
            frame_count = count_frames(image, content)
        except Exception as error:  # Pillow's readers raise whatever bad bytes lead to
            if _is_out_of_memory(error):
                raise TooManyPixels(f"{claimed} needs more memory than this worker has") from error
            raise CorruptImage(f"{claimed} cannot be decoded: {one_line(error)}") from error
    if shown[0] * shown[1] > max_image_pixels:  # a reader may have found more than the header says
        raise TooManyPixels(
            f"{claimed} turned out to have {shown[0]} x {shown[1]}, more than max_image_pixels "
            f"({max_image_pixels})"
        )
    return DecodedImage(pixels, *shown, name, frame_count)


def _open(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels(one_line(error)) from error
    except UnidentifiedImageError as error:
        known = _format_by_signature(content)
        if known is None:
            raise NotAnImage(f"the bytes are none of the formats {', '.join(FORMATS)}") from error
        raise CorruptImage(f"{known} whose header cannot be read") from error
    except Exception as error:  # Pillow's readers raise whatever bad bytes lead to
        if _is_out_of_memory(error):
            raise TooManyPixels("opening it needs more memory than this worker has") from error
        known = _format_by_signature(content)
        raise CorruptImage(f"{known} whose header cannot be read: {one_line(error)}") from error


def _format_by_signature(content: bytes) -> str | None:
    for name in FORMATS:
        accepts = Image.OPEN[name][1]
        if accepts is not None and accepts(content[:16]) is True:
            return name
    return None


def _loaded_size(image: Image.Image, name: str, needed_side: int | None) -> tuple[int, int]:
    """Decode the first frame; return its size before any scaling."""
    size = image.size
    if needed_side is None or name not in _SCALED_WHILE_DECODED:
        image.load()
        return image.size
    image.draft(None, (needed_side, needed_side))
    image.load()
    return size


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower()


def _is_turned(image: Image.Image) -> bool:
    """Tell whether the EXIF orientation swaps width and height."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) in _TURNED
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - unreadable EXIF orients nothing; the pixels are good
        return False


def _upright_rgb(image: Image.Image) -> Image.Image:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001, S110 - unreadable EXIF orients nothing; the pixels are good
        pass
    pixels = image.convert("RGB")
    colour = pixels.info.get("transparency")
    pixels.info = {} if colour is None else {"transparency": colour}
    return pixels


def _silence_pillow() -> None:
    """Keep Pillow's warnings about bad files from being printed or raised.

    `warnings.catch_warnings` is not safe among threads, so the filter stays in place; it is put
    back where somebody (a test runner, say) has replaced the filters since.
    """
    if not any(
        action == "ignore" and module is not None and module.pattern == _PILLOW_MODULES
        for action, _, _, module, _ in warnings.filters
    ):
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES)
