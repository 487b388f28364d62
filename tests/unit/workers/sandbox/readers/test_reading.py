"""Each listed format is read by the reader that the page on formats names."""

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakesweep.schema.failures import CorruptImage, NotAnImage, UnsupportedImage
from fakesweep.schema.formats import FORMATS, IMAGE_SUFFIXES, READ, ImageFormat, Reader
from fakesweep.schema.words import ReadAs
from fakesweep.workers.sandbox.decode import decode
from tests.support.formats import (
    Tags,
    avif_with_bad_alpha,
    bitmap,
    dng,
    icon_with,
    jxl,
    packed,
    psd,
    tiff,
)
from tests.support.samples import oriented, picture, written

MANY = 10_000_000
DOCUMENT = (Path(__file__).resolve().parents[5] / "docs" / "formats.md").read_text()


def _cursor() -> bytes:
    bits = written(picture(1).resize((16, 16)), "DIB")
    doubled = bits[:8] + struct.pack("<i", 32) + bits[12:]
    return icon_with(doubled + bytes(16 * 4), kind=2)


SAMPLES: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: written(picture(1), "JPEG"),
    "PNG": lambda: written(picture(1), "PNG"),
    "WEBP": lambda: written(picture(1), "WEBP"),
    "GIF": lambda: written(picture(1), "GIF"),
    "TIFF": lambda: written(picture(1), "TIFF"),
    "BMP": lambda: written(picture(1), "BMP"),
    "DIB": lambda: written(picture(1), "DIB"),
    "AVIF": lambda: written(picture(1), "AVIF"),
    "HEIF": lambda: written(picture(1), "HEIF"),
    "JPEG2000": lambda: written(picture(1), "JPEG2000"),
    "JXL": lambda: jxl(picture(1)),
    "PSD": lambda: psd(picture(1)),
    "PPM": lambda: written(picture(1), "PPM"),
    "TGA": lambda: written(picture(1), "TGA"),
    "ICO": lambda: written(picture(1).resize((64, 64)), "ICO"),
    "CUR": _cursor,
    "DNG": lambda: dng(1),
    "RAW": lambda: (
        b"FUJIFILMCCD-RAW "
        + bytes(68)
        + struct.pack(">II", 100, 9)
        + bytes(8)
        + written(picture(1), "JPEG")
    ),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_listed_is_read(name: str) -> None:
    image = decode(SAMPLES[name](), MANY)
    assert image.format == name
    assert image.pixels.mode == "RGB"
    assert image.pixels.size == (image.width, image.height)


def test_every_format_that_is_listed_has_a_sample_here() -> None:
    assert set(SAMPLES) == set(READ)
    assert "dib" in IMAGE_SUFFIXES


@pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.name)
def test_the_page_says_of_each_format_what_reads_it(known: ImageFormat) -> None:
    [row] = [line for line in DOCUMENT.splitlines() if line.startswith(f"| {known.name} |")]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[1].split(", ") == [f"`{one}`" for one in known.suffixes]
    assert cells[2].startswith(known.reader.value)


@pytest.mark.parametrize("known", [one for one in FORMATS if one.reader is Reader.NOTHING],
                         ids=lambda known: known.name)  # fmt: skip
def test_what_no_decoder_reads_says_so(known: ImageFormat) -> None:
    beginnings = {
        "CRW": b"II\x1a\0\0\0HEAPCCDR", "MRW": b"\0MRM", "X3F": b"FOVb", "JPEG XR": b"II\xbc\1",
        "QOI": b"qoif", "OpenEXR": b"v/1\1", "Radiance HDR": b"#?RADIANCE\n", "BPG": b"BPG\xfb",
        "DDS": b"DDS \x7c\0\0\0", "FLIF": b"FLIF1", "ICNS": b"icns\0", "XCF": b"gimp xcf ",
        "ILBM": b"FORM\0\0\0\0ILBM", "DICOM": bytes(128) + b"DICM", "PAM": b"P7\n",
        "PCX": b"\x0a\5\1\x08", "SGI": b"\1\xda\1\1\0\3", "SVG": b"<svg xmlns='x'>",
    }  # fmt: skip
    name = known.name
    with pytest.raises(UnsupportedImage, match=name):
        decode(beginnings[name] + bytes(300), MANY)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 14])
@pytest.mark.parametrize("planes", [1, 2])
def test_colours_of_any_depth_are_read(bits: int, planes: int) -> None:
    tones = np.asarray(picture(2)).astype(np.uint16)
    deep = tones >> (8 - bits) if bits < 8 else tones << (bits - 8)
    rows = deep if planes == 1 else np.moveaxis(deep, -1, 0)
    pixels = packed(rows, bits) if planes == 1 else b"".join(packed(one, bits) for one in rows)
    tags: Tags = {258: [bits] * 3, 262: 2, 277: 3, 284: planes}
    if planes == 2:
        plane = len(pixels) // 3
        content = tiff(pixels, 90, 64, {**tags, 273: [1, 1, 1], 279: [plane] * 3})
        start = len(content) - len(pixels)
        content = tiff(pixels, 90, 64, {
            **tags, 273: [start, start + plane, start + 2 * plane], 279: [plane] * 3,
        })  # fmt: skip
    else:
        content = tiff(pixels, 90, 64, tags)
    image = decode(content, MANY)
    assert image.read_as is ReadAs.IMAGE
    error = np.abs(np.asarray(image.pixels).astype(int) - np.asarray(picture(2)).astype(int))
    assert error.max() < 2 ** max(8 - bits, 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_big", [False, True])
def test_tiffs_of_either_order_and_size_are_read(order: str, is_big: bool) -> None:
    content = tiff(picture(3).tobytes(), 90, 64, {258: [8] * 3, 262: 2, 277: 3},
                   order=order, is_big=is_big)  # fmt: skip
    assert decode(content, MANY).pixels.tobytes() == picture(3).tobytes()


def test_a_palette_of_16_bits_is_looked_up() -> None:
    colours = np.random.default_rng(4).integers(0, 256, (3, 2**16), dtype=np.uint16) * 257
    places = np.random.default_rng(5).integers(0, 2**16, (64, 90), dtype=np.uint16)
    content = tiff(places.astype("<u2").tobytes(), 90, 64,
                   {258: 16, 262: 3, 320: colours.reshape(-1).tolist()})  # fmt: skip
    shown = np.asarray(decode(content, MANY).pixels)
    assert np.array_equal(shown, (colours.T[places] >> 8).astype(np.uint8))


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_palette_that_was_written_as_bytes_is_taken_for_that(bits: int, order: str) -> None:
    colours = np.random.default_rng(4).integers(0, 256, (3, 2**bits), dtype=np.uint16)
    places = np.random.default_rng(5).integers(0, 2**bits, (64, 90), dtype=np.uint16)
    pixels = places.astype(f"{order}u2" if bits == 16 else np.uint8)
    if bits == 4:
        pixels = pixels[:, 0::2] << 4 | pixels[:, 1::2]
    content = tiff(pixels.tobytes(), 90, 64,
                   {258: bits, 262: 3, 320: colours.reshape(-1).tolist()}, order=order)  # fmt: skip
    assert np.array_equal(np.asarray(decode(content, MANY).pixels), colours.T[places])


def test_an_orientation_turns_what_the_second_decoder_reads_too() -> None:
    tones = (np.asarray(picture(6)).astype(np.uint16) << 2).astype(np.uint16)
    content = tiff(packed(tones, 10), 90, 64, {258: [10] * 3, 262: 2, 274: 6, 277: 3})
    turned = picture(6).transpose(Image.Transpose.ROTATE_270)
    assert decode(content, MANY).pixels.tobytes() == turned.tobytes()


def test_webp_within_a_tiff_is_read() -> None:
    inner = written(picture(7), "WEBP", lossless=True)
    content = tiff(inner, 90, 64, {258: [8] * 3, 259: 50001, 262: 2, 277: 3, 278: 64})
    assert decode(content, MANY).pixels.tobytes() == picture(7).tobytes()


@pytest.mark.parametrize(
    ("masks", "bits"),
    [((0xFF, 0xFF00, 0xFF0000), 32), ((0x7F, 0x100, 0xFE00), 32), ((7, 0x38, 0x1C0), 16),
     ((0xF000, 0xF00, 0xF0), 16), ((0x3FF00000, 0xFFC00, 0x3FF), 32)],
)  # fmt: skip
def test_bit_fields_anywhere_in_a_pixel_are_read(masks: tuple[int, int, int], bits: int) -> None:
    content, shown = bitmap(masks, bits)
    assert decode(content, MANY).pixels.tobytes() == shown.tobytes()


@pytest.mark.parametrize(("compression", "inner"), [(4, "JPEG"), (5, "PNG")])
def test_a_bitmap_that_holds_another_picture_shows_it(compression: int, inner: str) -> None:
    content, _ = bitmap((1, 2, 4), 32, compression)
    held = written(picture(8), inner)
    image = decode(content[:66] + held, MANY)
    assert image.format == "BMP"
    assert image.pixels.tobytes() == decode(held, MANY).pixels.tobytes()


@pytest.mark.parametrize("seed", range(3))
def test_an_avif_with_a_broken_alpha_shows_its_colours_as_it_would_with_a_sound_one(
    seed: int,
) -> None:
    content, shown = avif_with_bad_alpha(seed)
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(io.BytesIO(content))
    assert decode(content, MANY).pixels.tobytes() == shown.tobytes()


def test_a_jpeg_xl_is_turned_as_it_says_and_its_alpha_dropped() -> None:
    image = picture(9)
    image.putalpha(77)
    assert decode(jxl(image), MANY).pixels.tobytes() == picture(9).tobytes()
    assert decode(jxl(picture(9).convert("L")), MANY).pixels.getpixel((5, 5)) == (
        picture(9).convert("RGB").convert("L").convert("RGB").getpixel((5, 5))
    )


def test_the_flat_picture_of_a_layered_file_is_marked() -> None:
    image = decode(psd(picture(10)), MANY)
    assert image.read_as is ReadAs.COMPOSITE
    assert image.pixels.tobytes() == picture(10).tobytes()
    for bits, version in ((16, 1), (32, 1), (8, 2)):
        with pytest.raises(UnsupportedImage, match="PSD of version"):
            decode(psd(picture(10), bits, version), MANY)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_camera_file_is_shown_by_the_largest_picture_that_it_refers_to(orientation: int) -> None:
    content = dng(11, orientation=orientation)
    decoy = written(picture(12).resize((400, 300)), "JPEG")
    image = decode(content + decoy, MANY)
    assert (image.format, image.read_as) == ("DNG", ReadAs.PREVIEW)
    assert (image.width, image.height) == ((160, 120) if orientation == 1 else (120, 160))
    shown = decode(written(picture(11).resize((160, 120)), "JPEG", quality=95,
                           exif=oriented(orientation)), MANY)  # fmt: skip
    assert image.pixels.tobytes() == shown.pixels.tobytes()


def test_a_portable_map_of_colours_in_floats_is_unsupported_and_not_called_broken() -> None:
    with pytest.raises(UnsupportedImage, match="floats"):
        decode(b"PF\n2 1\n-1.0\n" + struct.pack("<6f", *range(6)), MANY)


def test_a_camera_file_without_a_picture_is_unsupported() -> None:
    kinds: list[Tags] = [{262: 32803}, {262: 34892}, {262: 32803, 50706: b"\1\4\0\0"}]
    for tags in kinds:
        content = tiff(bytes(40 * 30 * 2), 40, 30, {258: 16, **tags})
        with pytest.raises(UnsupportedImage, match="of a camera without a picture"):
            decode(content, MANY)
    with pytest.raises(UnsupportedImage):
        decode(b"FUJIFILMCCD-RAW " + bytes(400), MANY)


def test_a_heif_whose_coding_nothing_reads_is_named_by_it() -> None:
    content = written(picture(13), "HEIF").replace(b"hvc1", b"unci")
    with pytest.raises(UnsupportedImage, match="HEIF coded as 'unci'"):
        decode(content, MANY)


@pytest.mark.parametrize("brands", [b"heicmif1", b"mif1heic", b"mif1miaf", b"msf1hevc"])
def test_a_heif_that_is_broken_is_called_a_heif(brands: bytes) -> None:
    content = b"\0\0\0\x18ftyp" + brands[:4] + bytes(4) + brands + bytes(8)
    with pytest.raises(CorruptImage, match=r"^HEIF whose header"):
        decode(content, MANY)


@pytest.mark.parametrize(
    "content",
    [bytes(5_000), bytes(range(256)) * 20,
     b"\0\0\2" + bytes(9) + b"\xff\xff\xff\xff\x20\0" + bytes(50), b"text " * 400,
     b"\0\1\1\0\0\0\1\x18" + bytes(40)],
)  # fmt: skip
def test_what_could_be_a_targa_only_by_accident_is_no_image(content: bytes) -> None:
    with pytest.raises(NotAnImage):
        decode(content, MANY)


def test_the_second_decoder_is_loaded_by_the_first_picture_that_needs_it() -> None:
    code = "import sys, fakesweep.workers.sandbox.process; sys.exit('imagecodecs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
