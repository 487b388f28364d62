"""Seed files of the fuzzer: every mode and format, and photographs where available."""

import importlib.util
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.formats import (
    avif_with_bad_alpha,
    bitmap,
    dng,
    grey,
    icon_with,
    jxl,
    packed,
    psd,
    tiff,
)
from tests.support.samples import every_sample, picture, written

LARGEST_BYTES = 300_000
_FROM_AN_ARCHIVE = 20
_SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
_FLOATS = np.linspace(-1e3, 1e3, 90 * 64, dtype=np.float32).reshape(64, 90)
_WHOLE = np.linspace(-(2**31), 2**31 - 1, 90 * 64).astype(np.int32).reshape(64, 90)


def seeds() -> list[bytes]:
    """Return the files in a fixed order."""
    found = [*every_sample().values(), *_further_modes()]
    return [content for content in (*found, *_photographs()) if len(content) <= LARGEST_BYTES]


def _further_modes() -> Iterator[bytes]:
    image = picture(7)
    yield written(Image.fromarray(_FLOATS), "TIFF")
    yield written(Image.fromarray(_WHOLE), "TIFF")
    for mode in ("1", "L", "LA", "P", "RGBA", "LAB", "YCbCr"):
        yield written(image.convert("RGB" if mode == "LAB" else mode), "TIFF")
    for compression in ("tiff_adobe_deflate", "packbits", "jpeg", "tiff_lzw", "group4"):
        bilevel = image.convert("1") if compression == "group4" else image
        yield written(bilevel, "TIFF", compression=compression)
    yield written(image, "TIFF", big_tiff=True)
    for mode in ("1", "L", "RGBA"):
        yield written(image.convert(mode), "BMP")
    yield written(image, "JPEG", icc_profile=b"x" * 3_000, comment=b"y" * 300)
    yield written(image, "JPEG", restart_marker_blocks=2, subsampling=0)
    yield written(image, "WEBP", lossless=True, xmp=b"<x/>" * 50, icc_profile=b"x" * 99)
    yield written(image, "AVIF", speed=10, subsampling="4:4:4")
    yield from _of_further_formats(image)


def _of_further_formats(image: Image.Image) -> Iterator[bytes]:
    yield jxl(image)
    yield written(Image.fromarray(grey(1).astype(np.uint16) * 257), "JPEG2000")
    yield psd(image)
    yield written(image, "TGA")
    yield written(image, "TGA", compression="tga_rle")
    yield written(image.resize((64, 64)), "ICO")
    yield icon_with(written(image.resize((16, 16)), "PNG"), kind=2)
    yield bitmap((0xF000, 0xF00, 0xF0), 16)[0]
    yield bitmap((1, 2, 4), 32, 4)[0][:66] + written(image, "JPEG")
    yield avif_with_bad_alpha(8)[0]
    yield dng(9)
    for bits in (10, 12):
        yield tiff(packed(grey(2).astype(np.uint16), bits), 90, 64, {258: bits})
    for order in "<>":
        yield tiff(
            image.tobytes(), 90, 64, {258: [8] * 3, 262: 2, 277: 3}, order=order, is_big=True
        )
    yield tiff(written(image, "WEBP"), 90, 64, {258: [8] * 3, 259: 50001, 262: 2, 277: 3})


def _photographs() -> Iterator[bytes]:
    package = importlib.util.find_spec("skimage")
    if package is not None and package.submodule_search_locations:
        folder = Path(package.submodule_search_locations[0]) / "data"
        for path in sorted(folder.iterdir()):
            if path.suffix in {".png", ".jpg", ".tif", ".gif"}:
                yield path.read_bytes()
    for path in sorted(_SHARED.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith((".jpg", ".png"))]
            for name in names[:: max(1, len(names) // _FROM_AN_ARCHIVE)]:
                yield archive.read(name)
