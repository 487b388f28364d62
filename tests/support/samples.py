"""Sample images of every mode and format that the reference reads correctly."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()

ORIENTATION = 0x0112
_WIDTH, _HEIGHT = 90, 64


def picture(seed: int) -> Image.Image:
    """Return an RGB image without symmetry: coloured blocks, a gradient and some grain."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (4, 6, 3)).repeat(16, axis=0).repeat(15, axis=1)
    gradient = np.linspace(0.2, 1.0, _WIDTH)[None, :, None]
    grain = random.integers(-20, 21, blocks.shape)
    return Image.fromarray((blocks * gradient + grain).clip(0, 255).astype(np.uint8))


def written(image: Image.Image, format_name: str, **options: Any) -> bytes:
    """Return an image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def oriented(orientation: int) -> Image.Exif:
    """Return EXIF with an orientation from 1 to 8."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def every_sample() -> dict[str, bytes]:
    """Return one file for each mode and format, by name, with distinct pictures.

    Formats that only the worker reads are in `tests/support/formats.py`.
    """
    return {name: make(picture(seed)) for seed, (name, make) in enumerate(_MAKERS.items())}


def _alpha(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def _keyed_palette(image: Image.Image) -> bytes:
    return written(image.quantize(16), "PNG", transparency=3)


def _palette_with_alphas(image: Image.Image) -> bytes:
    return written(image.quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))


def _keyed_rgb(image: Image.Image) -> bytes:
    image.paste((7, 8, 9), (10, 10, 50, 40))
    return written(image, "PNG", transparency=(7, 8, 9))


def _keyed_grey(image: Image.Image) -> bytes:
    grey = image.convert("L")
    grey.paste(9, (10, 10, 50, 40))
    return written(grey, "PNG", transparency=9)


def _png_of_48_bits(image: Image.Image) -> bytes:
    """Encode 16 bits per channel by hand, because Pillow cannot write them."""
    wide = (np.asarray(image).astype(np.uint16) * 257).astype(">u2")
    rows = b"".join(b"\x00" + row.tobytes() for row in wide)
    header = struct.pack(">IIBBBBB", image.width, image.height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def _animated(format_name: str, **options: Any) -> Callable[[Image.Image], bytes]:
    def make(image: Image.Image) -> bytes:
        later = [picture(900 + index) for index in range(2)]
        return written(image, format_name, save_all=True, append_images=later, **options)

    return make


def _held(format_name: str, orientation: int) -> Callable[[Image.Image], bytes]:
    return lambda image: written(image, format_name, exif=oriented(orientation))


_MAKERS: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg": lambda image: written(image, "JPEG", quality=90),
    "jpeg progressive": lambda image: written(image, "JPEG", progressive=True),
    "jpeg grey": lambda image: written(image.convert("L"), "JPEG"),
    "jpeg cmyk": lambda image: written(image.convert("CMYK"), "JPEG"),
    **{f"jpeg held {turn}": _held("JPEG", turn) for turn in range(1, 9)},
    "jpeg of three pictures (mpo)": _animated("MPO"),
    "png": lambda image: written(image, "PNG"),
    "png palette": lambda image: written(image.quantize(64), "PNG"),
    "png palette, one colour transparent": _keyed_palette,
    "png palette with alphas": _palette_with_alphas,
    "png rgb, one colour transparent": _keyed_rgb,
    "png grey, one shade transparent": _keyed_grey,
    "png alpha": lambda image: written(_alpha(image), "PNG"),
    "png grey": lambda image: written(image.convert("L"), "PNG"),
    "png grey alpha": lambda image: written(_alpha(image).convert("LA"), "PNG"),
    "png rgb 16 bit": _png_of_48_bits,
    "png black and white": lambda image: written(image.convert("1"), "PNG"),
    "png held 6": _held("PNG", 6),
    "png animated": _animated("PNG"),
    "webp": lambda image: written(image, "WEBP", quality=80),
    "webp lossless alpha": lambda image: written(_alpha(image), "WEBP", lossless=True),
    "webp held 8": _held("WEBP", 8),
    "webp animated": _animated("WEBP"),
    "gif": lambda image: written(image, "GIF"),
    "gif, one colour transparent": lambda image: written(image.quantize(16), "GIF", transparency=2),
    "gif animated": _animated("GIF"),
    "tiff": lambda image: written(image, "TIFF"),
    "tiff lzw held 5": lambda image: written(
        image, "TIFF", compression="tiff_lzw", exif=oriented(5)
    ),
    "tiff cmyk": lambda image: written(image.convert("CMYK"), "TIFF"),
    "tiff alpha": lambda image: written(_alpha(image), "TIFF"),
    "tiff of three pages": _animated("TIFF"),
    "bmp": lambda image: written(image, "BMP"),
    "dib": lambda image: written(image, "DIB"),
    "jpeg2000": lambda image: written(image, "JPEG2000"),
    "jpeg2000 grey": lambda image: written(image.convert("L"), "JPEG2000"),
    "ppm": lambda image: written(image, "PPM"),
    "bmp palette": lambda image: written(image.quantize(32), "BMP"),
    "avif": lambda image: written(image, "AVIF"),
    "avif alpha": lambda image: written(_alpha(image), "AVIF"),
    "avif held 7": _held("AVIF", 7),
    "avif animated": _animated("AVIF"),
    "heif": lambda image: written(image, "HEIF"),
    "heif alpha": lambda image: written(_alpha(image), "HEIF"),
    "heif grey": lambda image: written(image.convert("L"), "HEIF"),
    "heif held 6": _held("HEIF", 6),
    "heif of three pictures": _animated("HEIF"),
}
