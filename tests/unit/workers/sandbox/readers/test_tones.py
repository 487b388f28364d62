"""Wide grey, floats and signed numbers are scaled to their visible tones."""

import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fakesweep.schema.words import ReadAs
from fakesweep.workers.sandbox.decode import decode
from fakesweep.workers.sandbox.readers.claims import jpeg_2000_depth, jpeg_xl_depth
from fakesweep.workers.sandbox.readers.tones import by_own_range
from tests.support.formats import grey, packed, tiff
from tests.support.samples import written

MANY = 10_000_000


def _png16(values: NDArray[np.uint16]) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = (header, b"IDAT" + zlib.compress(rows), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks
    )


def _tiff(values: NDArray[np.generic], sample_format: int = 1, **tags: int) -> bytes:
    own = {258: 8 * values.dtype.itemsize, 339: sample_format}
    if "photometric" in tags:
        own[262] = tags["photometric"]
    return tiff(values.tobytes(), values.shape[1], values.shape[0], own)


TONES = grey(1)
WIDE = TONES.astype(np.uint16)
FILES = {
    "png of 16 bits": _png16(WIDE * 257),
    "png of 16 bits, dark": _png16(WIDE + 300),
    "png of 16 bits, 12 of them used": _png16(WIDE * 16),
    "tiff of 16 bits": _tiff(WIDE * 257),
    "tiff of 16 bits, white is least": _tiff(65_535 - WIDE * 257, photometric=0),
    "tiff of 16 bits, signed": _tiff(WIDE.astype("<i2") * 100 - 9_000, 2),
    "tiff of 32 bits": _tiff(WIDE.astype("<u4") * 2**20),
    "tiff of 32 bits, signed": _tiff(WIDE.astype("<i4") * 2**20 - 2**26, 2),
    "tiff of floats": _tiff(WIDE.astype("<f4") / 255, 3),
    "tiff of floats far from 0": _tiff(WIDE.astype("<f4") * 1e6 - 1e9, 3),
    "tiff of half floats": _tiff((WIDE / 255).astype("<f2"), 3),
    "tiff of double floats": _tiff(WIDE.astype("<f8") / 1e30, 3),
    "tiff of 10 bits": tiff(packed(WIDE * 4, 10), 90, 64, {258: 10}),
    "tiff of 12 bits": tiff(packed(WIDE * 16, 12), 90, 64, {258: 12}),
    "tiff of 12 bits, white is least": tiff(
        packed(4_080 - WIDE * 16, 12), 90, 64, {258: 12, 262: 0}
    ),
    "jpeg 2000 of 16 bits": written(Image.fromarray(WIDE * 257), "JPEG2000"),
    "pgm of 16 bits": b"P5 90 64 65535\n" + (WIDE * 257).astype(">u2").tobytes(),
    "pfm": b"Pf\n90 64\n-1.0\n" + (TONES[::-1].astype("<f4") / 7).tobytes(),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_wide_grey_is_scaled_by_its_own_range_and_marked(name: str) -> None:
    image = decode(FILES[name], MANY)
    assert image.read_as is ReadAs.SCALED
    shown = np.asarray(image.pixels)
    assert (shown == shown[..., :1]).all()
    assert np.abs(shown[..., 0].astype(int) - TONES.astype(int)).max() <= 1


SLOPE = np.tile(np.linspace(0, 1, 64), (64, 1))
COLOURS = np.stack([SLOPE, SLOPE.T, 1 - SLOPE], axis=-1)


def _coded(samples: NDArray[np.float64], bits: int) -> NDArray[Any]:
    kind: type[np.unsignedinteger[Any]] = np.uint8 if bits <= 8 else np.uint16
    coded: NDArray[Any] = (samples * (2**bits - 1)).round().astype(kind)
    return coded


@pytest.mark.parametrize("bits", [1, 2, 4, 7, 8, 9, 10, 12, 14, 16])
@pytest.mark.parametrize("in_boxes", [False, True])
def test_a_jpeg_xl_of_any_depth_has_all_its_tones(bits: int, in_boxes: bool) -> None:
    samples = _coded(COLOURS, bits)
    content = bytes(
        imagecodecs.jpegxl_encode(samples, bitspersample=bits, lossless=True, usecontainer=in_boxes)
    )
    assert jpeg_xl_depth(content) == bits
    found = np.asarray(decode(content, MANY).pixels).astype(int)
    assert abs(found - samples.astype(int) * 255 // (2**bits - 1)).max() <= 1


def test_an_animated_jpeg_xl_says_its_depth_behind_what_moves_it() -> None:
    frames = np.stack([_coded(COLOURS, 10)] * 3)
    content = bytes(
        imagecodecs.jpegxl_encode(frames, bitspersample=10, photometric="rgb", lossless=True)
    )
    assert jpeg_xl_depth(content) == 10
    assert np.asarray(decode(content, MANY).pixels).max() == 255


@pytest.mark.parametrize("bits", [4, 8, 10, 12, 16])
@pytest.mark.parametrize("codec", ["JP2", "J2K"])
def test_a_jpeg_2000_of_components_that_pillow_has_no_mode_for_has_all_its_tones(
    bits: int, codec: str
) -> None:
    samples = _coded(np.dstack([COLOURS, COLOURS]), bits)
    content = bytes(imagecodecs.jpeg2k_encode(samples, bitspersample=bits, codecformat=codec))
    assert jpeg_2000_depth(content) == bits
    found = np.asarray(decode(content, MANY).pixels).astype(int)
    assert abs(found - samples[..., :3].astype(int) * 255 // (2**bits - 1)).max() <= 1


def test_eight_bits_stay_as_they_are_and_so_do_colours_of_sixteen() -> None:
    dim = TONES // 2
    for content in (_tiff(dim), written(Image.fromarray(dim), "PNG"),
                    written(Image.fromarray(dim), "JPEG2000")):  # fmt: skip
        image = decode(content, MANY)
        assert image.read_as is ReadAs.IMAGE
        assert np.array_equal(np.asarray(image.pixels)[..., 0], dim)
    colours = np.repeat(dim.astype("<u2")[..., None] * 257, 3, axis=-1)
    image = decode(tiff(colours.tobytes(), 90, 64, {258: [16] * 3, 262: 2, 277: 3}), MANY)
    assert image.read_as is ReadAs.IMAGE
    assert np.array_equal(np.asarray(image.pixels)[..., 1], dim)


def test_what_is_no_number_is_black_or_white_and_spoils_no_range() -> None:
    values = TONES.astype("<f4") / 255
    values[3, 3:6] = (np.nan, -np.inf, np.inf)
    shown = np.asarray(decode(_tiff(values, 3), MANY).pixels)[..., 0]
    assert shown[3, 3:6].tolist() == [0, 0, 255]
    assert np.abs(shown.astype(int) - TONES).max(where=np.isfinite(values), initial=0) <= 1


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [(0, "u2", 0), (65_535, "u2", 255), (32_768, "u2", 128), (0.25, "f4", 64), (7.0, "f4", 255),
     (-1.0, "f4", 0), (np.nan, "f4", 0), (0, "i4", 128), (2**32 - 1, "u4", 255)],
)  # fmt: skip
def test_a_picture_of_one_value_counts_in_the_range_of_its_type(
    value: float, dtype: str, expected: int
) -> None:
    assert (by_own_range(np.full((2, 3), value, dtype)) == expected).all()


def test_a_long_row_is_scaled_in_parts() -> None:
    values = np.arange(3 * 2**20, dtype=np.float32)[None]
    shown = by_own_range(values)
    assert (shown[0, 0], shown[0, -1]) == (0, 255)
    assert (np.diff(shown[0].astype(int)) >= 0).all()
