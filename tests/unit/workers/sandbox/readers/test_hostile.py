"""False headers: too large pictures are refused before decoding, and walks are bounded."""

import io
import struct
import time
import warnings
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from fakesweep.schema.failures import (
    CorruptImage,
    ImageFailure,
    NotAnImage,
    TooManyPixels,
    UnsupportedImage,
)
from fakesweep.workers.sandbox.decode import decode
from fakesweep.workers.sandbox.readers import codecs
from fakesweep.workers.sandbox.readers import tiff as walks
from fakesweep.workers.sandbox.readers.claims import boxes, jpeg_xl_size
from fakesweep.workers.sandbox.readers.heif import meta_of
from tests.support.formats import avif_with_bad_alpha, bitmap, dng, icon_with, jxl, psd, tiff
from tests.support.samples import picture, written

MANY = 178_956_970
SIDE = 60_000


def _png(edge: int, *texts: bytes) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", edge, edge, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((edge + 1) * edge) if edge < 1_000 else bytes(100))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one))
        for one in (header, *texts, b"IDAT" + rows, b"IEND")
    )


def _sized(content: bytes, mark: bytes, offset: int, layout: str = ">II") -> bytes:
    at = content.index(mark) + offset
    sides = struct.pack(layout, SIDE, SIDE)
    return content[:at] + sides + content[at + len(sides) :]


def _jxl_of(height: int, width: int) -> bytes:
    """Return the head of a codestream that claims these sides, with 30 bits for each side."""
    bits = 3 << 1 | (height - 1) << 3 | 0 << 33 | 3 << 36 | (width - 1) << 38
    return b"\xff\x0a" + bits.to_bytes(12, "little") + bytes(60)


BOMBS: dict[str, Callable[[], bytes]] = {
    "JPEG2000 by its header": lambda: _sized(written(picture(1), "JPEG2000"), b"ihdr", 4),
    "JPEG2000 by its stream alone": lambda: _sized(
        written(picture(1), "JPEG2000"), b"\xff\x4f\xff\x51", 8
    ),
    "JXL": lambda: _jxl_of(SIDE, SIDE),
    "JXL in boxes": lambda: b"\0\0\0\x0cJXL \r\n\x87\n" + struct.pack(">I", 82) + b"jxlc"
    + _jxl_of(SIDE, SIDE),
    "PSD": lambda: _sized(psd(picture(1)), b"8BPS", 14),
    "TGA": lambda: struct.pack("<BBBHHBHHHHBB", 0, 0, 10, 0, 0, 0, 0, 0, SIDE, SIDE, 24, 0)
    + bytes(9_000) + bytes(8) + b"TRUEVISION-XFILE.\0",
    "PPM": lambda: b"P6 60000 60000 255\n" + bytes(99),
    "DIB": lambda: struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(99),
    "BMP of bit fields": lambda: _sized(bitmap((7, 0x38, 0x1C0), 16)[0], b"BM", 18, "<ii"),
    "TIFF of 10 bits": lambda: tiff(bytes(999), SIDE, SIDE, {258: 10}),
    "ICO by the PNG within": lambda: icon_with(_png(SIDE)),
    "CUR by the bitmap within": lambda: icon_with(
        struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 24, 0, 0, 0, 0, 0, 0), kind=2
    ),
    "DNG by its preview": lambda: _sized(dng(1), b"\xff\xc0\0\x11\x08", 5, ">HH"),
    "JPEG without loss": lambda: b"\xff\xd8\xff\xc3\0\x0b\x08" + struct.pack(">HH", SIDE, SIDE)
    + b"\1\1\x11\0" + bytes(99),
    "AVIF": lambda: _sized(written(picture(1), "AVIF"), b"ispe", 8),
    "AVIF above its decoder's own limit": lambda: written(picture(1), "AVIF").replace(
        b"ispe" + bytes(4) + struct.pack(">II", 90, 64),
        b"ispe" + bytes(4) + struct.pack(">II", 17_000, 17_000),
    ),
    "HEIF": lambda: _sized(written(picture(1), "HEIF"), b"ispe", 8),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_claims_too_much_is_refused_before_it_is_decoded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: object, **__: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(codecs, "_decoded", decoded)
    with pytest.raises(TooManyPixels, match=r"max_image_pixels|larger than its decoder takes"):
        decode(BOMBS[name](), MANY)


def test_an_avif_above_its_decoders_own_limit_is_too_large_whatever_the_setting() -> None:
    content = BOMBS["AVIF above its decoder's own limit"]()
    with pytest.raises(TooManyPixels, match=r"AVIF of 17000 x 17000 .* larger than its decoder"):
        decode(content, 400_000_000)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (64, 90), (2**30, 2**30), (77, 60_000)])
def test_the_size_of_a_jpeg_xl_is_read_from_its_first_bits(height: int, width: int) -> None:
    assert jpeg_xl_size(_jxl_of(height, width)) == (width, height)


def test_the_size_of_a_real_jpeg_xl_is_what_its_decoder_finds() -> None:
    for sides in ((90, 64), (8, 8), (256, 128), (300, 300), (1_000, 1)):
        assert jpeg_xl_size(jxl(picture(1).resize(sides))) == sides


def _text(kind: bytes, size: int) -> bytes:
    body = {b"zTXt": b"workflow\0\0", b"iTXt": b"workflow\0\1\0\0\0", b"iCCP": b"icc\0\0"}[kind]
    return kind + body + zlib.compress(b"x" * size)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
@pytest.mark.parametrize("size", [1_000, 1_500_000, 50_000_000])
def test_a_png_is_judged_however_long_its_texts_and_profiles_are(kind: bytes, size: int) -> None:
    texts = [_text(kind, size)] * (1 if kind == b"iCCP" else 3)
    image = decode(_png(64, *texts), MANY)
    assert (image.format, image.width) == ("PNG", 64)


def test_texts_that_are_long_together_and_ones_that_make_no_sense_spoil_no_png() -> None:
    together = [_text(b"zTXt", 1_000_000)] * 100
    odd = [b"zTXtworkflow\0\x0c" + zlib.compress(b"x"), b"iCCPicc\0\7nothing", b"cHRM\0", b"tIME\1"]
    for texts in (together, odd, [*odd, *together], [b"tEXtkey\0" + b"y" * 3_000_000] * 2):
        assert decode(_png(64, *texts), MANY).width == 64


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"pHYs", b"prVt"])
def test_what_a_png_may_lack_is_left_out_where_it_is_damaged(kind: bytes) -> None:
    spoiled = kind + b"key\0\0some bytes"
    content = _png(64, spoiled)
    at = content.index(spoiled) + len(spoiled)
    content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    assert decode(content, MANY).pixels.tobytes() == decode(_png(64), MANY).pixels.tobytes()


def test_an_orientation_in_a_short_text_counts_beside_a_long_one() -> None:
    profile = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    told = f"\nexif\n{len(profile):8}\n{profile.hex()}\n".encode()
    turned = b"zTXtRaw profile type exif\0\0" + zlib.compress(told)
    tall = _png(64, turned, _text(b"zTXt", 2_000_000))
    tall = tall.replace(struct.pack(">II", 64, 64), struct.pack(">II", 64, 32))
    header = tall[12:29]
    tall = tall.replace(tall[29:33], struct.pack(">I", zlib.crc32(header)), 1)
    image = decode(tall, MANY)
    assert (image.width, image.height) == (32, 64)


SAMPLES: dict[str, Callable[[], bytes]] = {
    "JPEG2000": lambda: written(picture(2), "JPEG2000"),
    "JXL": lambda: jxl(picture(2)),
    "PSD": lambda: psd(picture(2)),
    "PPM": lambda: written(picture(2), "PPM"),
    "DIB": lambda: written(picture(2), "DIB"),
    "BMP": lambda: bitmap((0xF000, 0xF00, 0xF0), 16)[0],
    "TIFF": lambda: tiff(picture(2).tobytes(), 90, 64, {258: [8] * 3, 262: 2, 277: 3},
                         order=">", is_big=True),
    "TIFF of 10 bits": lambda: tiff(bytes(113 * 64), 90, 64, {258: 10}),
    "AVIF": lambda: avif_with_bad_alpha(2)[0],
    "ICO": lambda: written(picture(2).resize((64, 64)), "ICO"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_file_that_is_cut_is_never_filled_up(name: str, part: float) -> None:
    content = SAMPLES[name]()
    with pytest.raises((CorruptImage, UnsupportedImage)):
        decode(content[: int(len(content) * part)], MANY)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "RGB", "L"])
def test_a_tiff_whose_compressed_pixels_are_damaged_is_never_filled_up(
    mode: str, compression: str
) -> None:
    image = picture(3).convert(mode)
    content = bytearray(written(image, "TIFF", compression=compression))
    middle = len(content) // 2
    content[middle : middle + 600] = b"\xff" * 600
    alone, ours = (_ending(by, bytes(content)) for by in (_pillow_alone, _decoded))
    assert type(ours) is type(alone), "what Pillow cannot decode to its end, nothing fills up"


def _decoded(content: bytes) -> None:
    decode(content, MANY)


def _pillow_alone(content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            Image.open(io.BytesIO(content)).load()
        except OSError as error:
            raise CorruptImage(str(error)) from error


def _ending(by: Callable[[bytes], object], content: bytes) -> ImageFailure | None:
    try:
        by(content)
    except ImageFailure as failure:
        return failure
    return None


@pytest.mark.parametrize("name", [*SAMPLES, *BOMBS])
def test_bytes_that_are_changed_lead_to_pixels_or_to_a_failure_in_a_printable_line(
    name: str,
) -> None:
    content = (SAMPLES | BOMBS)[name]()
    for at in range(0, min(len(content), 400), 3):
        for value in (0x00, 0x7F, 0xFF):
            damaged = content[:at] + bytes([value]) + content[at + 1 :]
            told = "pixels"
            try:
                decode(damaged, 1_000_000)
            except ImageFailure as failure:
                told = str(failure)
            assert told.isprintable()


def test_directories_that_go_in_circles_or_without_end_are_left() -> None:
    circle = b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 330, 4, 1, 8, 8)
    many = tiff(b"x", 1, 1, {330: [8 + 4 * n for n in range(60_000)]})
    chain = b"II*\0" + b"".join(struct.pack("<IH", 4 + 6 * n + 4, 0) for n in range(100_000))
    assert len(list(walks.directories(many))) <= walks.MAX_DIRECTORIES
    beyond = (b"II*\0\xff\xff\xff\xff", b"MM\0+\0\x08\0\0" + b"\xff" * 8)
    for content in (circle, chain, *beyond):
        assert len(list(walks.directories(content))) <= walks.MAX_DIRECTORIES
        with pytest.raises(ImageFailure):
            decode(content, MANY)
    assert len(list(walks.directories(circle))) == 1


def test_boxes_without_end_are_left_and_their_work_is_in_proportion() -> None:
    deep = b"\0\0\0\x08free" * 300_000
    items = struct.pack(">IHHI", 0, 0, 0, 0)
    iloc = b"\1\0\0\0\x44\x40\xff\xff" + b"\0\1\0\0\0\0\xff\xff" * 50_000 + items
    inner = struct.pack(">I", len(iloc) + 8) + b"iloc" + iloc
    meta = struct.pack(">I", len(inner) + 12) + b"meta" + bytes(4) + inner
    started = time.process_time()
    assert len(list(boxes(deep))) == 10_000
    assert meta_of(meta) is not None
    for content in (deep, b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + meta + deep):
        with pytest.raises((NotAnImage, CorruptImage)):
            decode(content, MANY)
    assert time.process_time() - started < 10


@pytest.mark.parametrize("content", [
    tiff(bytes(99), 9, 9, {282: b"\0", 296: [70_000], 259: 32_773}),
    tiff(b"", 3, 3, {273: 70_000, 279: 9, 317: [2, 2]}),
    tiff(bytes(99), 9, 9, {277: 60_000, 258: 10}),
])  # fmt: skip
def test_what_is_wrong_with_a_tiff_is_said_about_the_picture(content: bytes) -> None:
    with pytest.raises(ImageFailure) as told:
        decode(content, MANY)
    for leak in ("object", "decoder error", "NoneType", "argument", "Error:", "MemoryError"):
        assert leak not in str(told.value)


def test_a_picture_in_a_picture_is_as_large_as_it_is() -> None:
    inner = io.BytesIO()
    Image.new("RGB", (48, 48)).save(inner, "PNG")
    assert decode(icon_with(inner.getvalue()), MANY).width == 48
