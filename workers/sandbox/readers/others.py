"""Fallback readers by format, for bytes that Pillow refuses."""

from collections.abc import Callable
from dataclasses import replace

from fakesweep.schema.failures import CorruptImage, TooManyPixels, UnsupportedImage
from fakesweep.schema.formats import NAMED, ImageFormat, format_of
from fakesweep.schema.words import ReadAs
from fakesweep.workers.sandbox.readers import bitmap, claims, codecs, heif, jpeg, pillow, png, tiff
from fakesweep.workers.sandbox.readers.pillow import DecodedImage

_LIBAVIF_PIXELS, _LIBAVIF_SIDE = 16_384**2, 32_768
_CODED = frozenset({b"hvc1", b"av01", b"grid", b"iden", b"iovl"})
_PSD_BITS, _PSD_MODES = frozenset({16, 32}), frozenset({7, 8, 9})


def decode(content: bytes, known: ImageFormat, max_image_pixels: int) -> DecodedImage | None:
    """Decode bytes that Pillow refused; return None where no other reader applies.

    Raises:
        TooManyPixels: the header claims more than `max_image_pixels`.
        UnsupportedImage: no reader supports this kind of the format.
        CorruptImage: the pixels cannot be decoded.
    """
    reader = _READERS.get(known.name)
    return None if reader is None else reader(content, max_image_pixels)


def _png(content: bytes, max_image_pixels: int) -> DecodedImage | None:
    shorter = png.without_spare_chunks(content)
    if shorter is None or len(shorter) == len(content):
        return None
    return pillow.decode(shorter, NAMED["PNG"], max_image_pixels)


def _jpeg(content: bytes, max_image_pixels: int) -> DecodedImage | None:
    frame = jpeg.frame_of(content)
    if frame is None or frame.is_usual:
        return None
    _check("JPEG", (frame.width, frame.height), max_image_pixels)
    return _read(codecs.read_jpeg(content, frame), "JPEG")


def _tiff(content: bytes, max_image_pixels: int) -> DecodedImage | None:
    directory = next(tiff.directories(content), None)
    if directory is None:
        return None
    codecs.check_tiff_size(directory, max_image_pixels)
    return _read(
        codecs.read_tiff(content, directory, is_opened=pillow.opens(content)),
        "TIFF",
        tiff.orientation(directory),
    )


def _bitmap(content: bytes, max_image_pixels: int) -> DecodedImage | None:
    found = bitmap.bitmap_of(content)
    if found is None:
        return None
    inner = format_of(content[found.pixels_at :])
    if found.holds_another and inner in {NAMED["JPEG"], NAMED["PNG"]}:
        shown = pillow.decode(content[found.pixels_at :], inner, max_image_pixels)
        return replace(shown, format="BMP")
    if found.has_bit_fields:
        pixels = bitmap.read_bit_fields(content, found, max_image_pixels)
        return _read(codecs.Reading(pixels, is_scaled=False), "BMP")
    if found.is_possible and not found.is_usual:
        raise UnsupportedImage(f"BMP of {found.bits} bits packed in way {found.compression}")
    return None


def _avif(content: bytes, max_image_pixels: int) -> DecodedImage | None:
    meta = _checked_meta(content, "AVIF", max_image_pixels)
    width, height = (meta and meta.largest_size()) or (0, 0)
    if width * height > _LIBAVIF_PIXELS or max(width, height) > _LIBAVIF_SIDE:
        raise TooManyPixels(
            f"AVIF of {width} x {height} pixels is larger than its decoder takes "
            f"({_LIBAVIF_PIXELS} pixels, {_LIBAVIF_SIDE} a side)"
        )
    alone = heif.primary_alone(content)
    if alone is None:
        return None
    return pillow.decode(alone, NAMED["AVIF"], max_image_pixels, formats=("AVIF",))


def _heif(content: bytes, max_image_pixels: int) -> None:
    _checked_meta(content, "HEIF", max_image_pixels)


def _checked_meta(content: bytes, name: str, max_image_pixels: int) -> heif.Meta | None:
    meta = heif.meta_of(content)
    has_picture = meta is not None and meta.primary is not None
    if not has_picture and any(kind == b"moov" for kind, _, _ in claims.boxes(content)):
        raise UnsupportedImage(f"{name} that is a film without a still picture")
    if meta is None:
        return None
    size = meta.largest_size()
    if size is not None:
        _check(name, size, max_image_pixels)
    kind = meta.primary_kind
    if kind is not None and kind not in _CODED:
        named = kind.decode("ascii", "replace")
        raise UnsupportedImage(f"{name} coded as {named!r}, which no decoder here reads")
    return meta


def _jpeg_xl(content: bytes, max_image_pixels: int) -> DecodedImage:
    size = claims.jpeg_xl_size(content)
    if size is None:
        raise CorruptImage("JXL whose header cannot be read")
    _check("JXL", size, max_image_pixels)
    return _read(codecs.read_jpeg_xl(content), "JXL")


def _jpeg_2000(content: bytes, max_image_pixels: int) -> DecodedImage | None:
    size = claims.jpeg_2000_size(content)
    if size is None:
        return None
    _check("JPEG2000", size, max_image_pixels)
    return _read(codecs.read_jpeg2000(content), "JPEG2000")


def _portable_map(content: bytes, _max_image_pixels: int) -> None:
    if content.startswith(b"PF"):
        raise UnsupportedImage("PPM of colours in floats")


def _psd(content: bytes, _max_image_pixels: int) -> None:
    version, bits, mode = (int.from_bytes(content[at : at + 2], "big") for at in (4, 22, 24))
    if version != 1 or bits in _PSD_BITS or mode in _PSD_MODES:
        raise UnsupportedImage(f"PSD of version {version}, {bits} bits and mode {mode}")


def _check(name: str, size: tuple[int, int], max_image_pixels: int) -> None:
    if size[0] * size[1] > max_image_pixels:
        raise TooManyPixels(
            f"{name} of {size[0]} x {size[1]} pixels has more than max_image_pixels "
            f"({max_image_pixels})"
        )


def _read(reading: codecs.Reading, name: str, held: int = 1) -> DecodedImage:
    image = codecs.upright(reading, held).convert("RGB")
    read_as = ReadAs.SCALED if reading.is_scaled else ReadAs.IMAGE
    return DecodedImage(image, image.width, image.height, name, 1, read_as)


_READERS: dict[str, Callable[[bytes, int], DecodedImage | None]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "TIFF": _tiff,
    "BMP": _bitmap,
    "AVIF": _avif,
    "HEIF": _heif,
    "JXL": _jpeg_xl,
    "JPEG2000": _jpeg_2000,
    "PSD": _psd,
    "PPM": _portable_map,
}
