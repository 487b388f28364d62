import io
import pickle
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps
from transformers.image_utils import load_image

from fakesweep.schema.failures import (
    CorruptImage,
    ImageEmpty,
    ImageFailure,
    NotAnImage,
    TooManyPixels,
)
from fakesweep.workers.sandbox.decode import DecodedImage, decode
from tests.support.samples import every_sample, oriented, picture, written

MANY = 10_000_000
SAMPLES = every_sample()

SEVERAL_FRAMES = {"jpeg of three pictures (mpo)", "png animated", "webp animated", "gif animated",
                  "tiff of three pages", "avif animated", "heif of three pictures"}  # fmt: skip


@pytest.mark.parametrize("sample", SAMPLES)
def test_pixels_are_those_of_the_reference(sample: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of palettes with alphas
        reference = load_image(Image.open(io.BytesIO(SAMPLES[sample])))

    image = decode(SAMPLES[sample], MANY)

    assert image.pixels.mode == "RGB"
    assert np.array_equal(np.asarray(image.pixels), np.asarray(reference))
    assert image.pixels.info.get("transparency") == reference.info.get("transparency")
    assert (image.width, image.height) == reference.size


@pytest.mark.parametrize("sample", SAMPLES)
def test_format_and_number_of_frames_are_recorded(sample: str) -> None:
    image = decode(SAMPLES[sample], MANY)

    assert image.format == ("MPO" if "mpo" in sample else _format_of(sample))
    assert image.frame_count == (3 if sample in SEVERAL_FRAMES else 1)


def test_an_image_held_sideways_is_as_wide_as_it_is_shown() -> None:
    image = decode(written(picture(0), "JPEG", exif=oriented(6)), MANY)

    assert (image.width, image.height) == (64, 90)


def test_the_first_frame_of_an_animation_is_taken() -> None:
    first, later = picture(1), picture(2)
    animation = written(first, "PNG", save_all=True, append_images=[later])

    assert decode(animation, MANY).pixels.tobytes() == first.tobytes()


def test_a_mif1_file_is_opened_by_whichever_reader_understands_it() -> None:
    for format_name, brand in (("AVIF", b"avif"), ("HEIF", b"heic")):
        content = written(picture(3), format_name)
        assert content[8:12] == brand

        image = decode(content[:8] + b"mif1" + content[12:], MANY)

        assert image.format == format_name


def test_unreadable_exif_leaves_the_pixels_as_they_are_stored() -> None:
    content = written(picture(4), "WEBP", exif=b"Exif\x00\x00XX*\x00\x08\x00\x00\x00")
    with pytest.raises(SyntaxError), Image.open(io.BytesIO(content)) as image:
        ImageOps.exif_transpose(image)

    assert decode(content, MANY).width == 90


def test_no_bytes_are_an_empty_image() -> None:
    with pytest.raises(ImageEmpty):
        decode(b"", MANY)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"<!doctype html><title>404</title>", id="a page"),
        pytest.param(b"\x00" * 4096, id="zeros"),
        pytest.param(b"%PDF-1.7\n%\xe2\xe3", id="a document"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", id="PostScript"),
        pytest.param(b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00", id="a film"),
        pytest.param(b"\xff", id="one byte"),
    ],
)
def test_what_no_format_recognises_is_not_an_image(content: bytes) -> None:
    with pytest.raises(NotAnImage, match="none of the formats JPEG, PNG"):
        decode(content, MANY)


@pytest.mark.parametrize("sample", [name for name in SAMPLES if name not in SEVERAL_FRAMES])
def test_half_a_file_is_corrupt(sample: str) -> None:
    content = SAMPLES[sample]

    with pytest.raises(CorruptImage, match=_format_of(sample)) as failure:
        decode(content[: len(content) // 2], MANY)

    assert "\n" not in str(failure.value)


def test_truncated_images_fail_even_though_pillow_could_fill_them() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    content = written(picture(6), "JPEG")

    with pytest.raises(CorruptImage, match="JPEG of 90 x 64 pixels cannot be decoded"):
        decode(content[:-100], MANY)


def test_a_signature_with_nonsense_behind_it_is_corrupt() -> None:
    for signature, name in (
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"GIF89a", "GIF"),
        (b"II*\x00", "TIFF"),
        (b"\x00\x00\x00\x18ftypheic", "HEIF"),
    ):
        with pytest.raises(CorruptImage, match=f"^{name} whose header cannot be read"):
            decode(signature + b"\x07" * 40, MANY)


def test_more_pixels_than_allowed_are_refused_before_decoding() -> None:
    content = written(picture(7), "PNG")

    with pytest.raises(TooManyPixels, match=r"PNG of 90 x 64 .* max_image_pixels \(5759\)"):
        decode(content, 90 * 64 - 1)
    assert decode(content, 90 * 64).width == 90


@pytest.mark.parametrize("edge", [20_000, 60_000])
def test_a_small_file_that_claims_huge_dimensions_is_refused(edge: int) -> None:
    with pytest.raises(TooManyPixels, match=f"{edge} x {edge}"):
        decode(_hollow_png(edge), 178_956_970)


def test_the_setting_alone_decides_above_the_limit_that_pillow_has() -> None:
    edge = 14_000  # 196 million pixels: Pillow alone refuses from 179 million on

    with pytest.raises(CorruptImage):
        decode(_hollow_png(edge), edge * edge)


def test_running_out_of_memory_is_no_corruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", exhausted)

    with pytest.raises(TooManyPixels, match="BMP of 90 x 64 pixels needs more memory"):
        decode(written(picture(8), "BMP"), MANY)


SAID_FOR_PEOPLE = (SyntaxError, ValueError, OSError, RuntimeError, Exception)
SAID_OF_ITS_CODE = (
    struct.error, EOFError, IndexError, KeyError, TypeError, AttributeError, OverflowError,
    ZeroDivisionError, RecursionError, NotImplementedError, BufferError, AssertionError, zlib.error,
    UnicodeError, ArithmeticError,
)  # fmt: skip


@pytest.mark.parametrize("raised", [*SAID_FOR_PEOPLE, *SAID_OF_ITS_CODE])
@pytest.mark.parametrize("step", ["load", "convert"])
def test_whatever_a_reader_raises_over_the_pixels_is_corruption_told_in_a_sentence(
    raised: type[Exception], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise raised("bad\n\x1b[2J")

    monkeypatch.setattr(ImageFile.ImageFile, step, fail)

    with pytest.raises(CorruptImage, match=r"^BMP of 90 x 64 pixels cannot be decoded: ") as told:
        decode(written(picture(8), "BMP"), MANY)
    assert str(told.value).isprintable()
    assert ("bad" in str(told.value)) is (raised in SAID_FOR_PEOPLE)


@pytest.mark.parametrize(
    ("raised", "failure"),
    [
        (ValueError("text chunk too large"), CorruptImage),
        (RuntimeError("odd"), CorruptImage),
        (SyntaxError("refused"), CorruptImage),
        (Image.DecompressionBombError("huge"), TooManyPixels),
        (MemoryError(), TooManyPixels),
    ],
)
def test_whatever_a_reader_raises_over_the_header_is_a_failure(
    raised: Exception, failure: type[ImageFailure], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_image: Image.Image) -> None:
        raise raised

    monkeypatch.setattr("PIL.BmpImagePlugin.BmpImageFile._open", fail)

    with pytest.raises(failure):
        decode(written(picture(8), "BMP"), MANY)


def test_a_picture_that_turns_out_larger_than_its_header_says_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = ImageFile.ImageFile.load

    def grown(image: ImageFile.ImageFile) -> None:
        load(image)
        image.im = image.im.resize((900, 640), Image.Resampling.NEAREST, (0, 0, 90, 64))
        image._size = (900, 640)

    monkeypatch.setattr(ImageFile.ImageFile, "load", grown)

    with pytest.raises(TooManyPixels, match="turned out to have 900 x 640"):
        decode(written(picture(8), "BMP"), 90 * 64)


def test_no_thumbnail_stands_in_for_the_picture_it_comes_with() -> None:
    content = written(picture(8).resize((640, 480)), "HEIF", thumbnails=[160])
    with Image.open(io.BytesIO(content)) as image:
        assert image.draft(None, (100, 100)) is not None, "Pillow would show the thumbnail"

    assert decode(content, MANY, 100).pixels.size == (640, 480)


def test_damaged_files_only_ever_raise_failures_and_never_warn(
    capfd: pytest.CaptureFixture[str],
) -> None:
    random = np.random.default_rng(9)
    outcomes: dict[str, int] = {}
    for content in (SAMPLES[name] for name in SAMPLES if "tiff" not in name):
        for _ in range(25):
            damaged = bytearray(content)
            for _ in range(random.integers(1, 5)):
                damaged[min(int(random.exponential(80)), len(damaged) - 1)] = random.integers(256)
            try:
                outcome = decode(bytes(damaged), MANY).format
            except ImageFailure as failure:
                outcome = failure.code
            outcomes[outcome] = outcomes.get(outcome, 0) + 1

    assert {"corrupt", "not_an_image", "too_many_pixels", "PNG", "JPEG"} <= outcomes.keys()
    assert capfd.readouterr().err == ""


def test_many_threads_decode_at_once() -> None:
    contents = [SAMPLES[name] for name in SAMPLES] * 4
    alone = [decode(content, MANY).pixels.tobytes() for content in contents]

    with ThreadPoolExecutor(16) as threads:
        together = list(threads.map(lambda content: decode(content, MANY), contents))

    assert [image.pixels.tobytes() for image in together] == alone


def test_a_decoded_image_crosses_processes_with_its_pixels_alone() -> None:
    image = decode(written(picture(10), "JPEG", exif=oriented(3), comment=b"x" * 60_000), MANY)

    travelled: DecodedImage = pickle.loads(pickle.dumps(image))

    assert travelled.pixels.tobytes() == image.pixels.tobytes()
    assert travelled.pixels.info == {}


def test_a_loader_imports_none_of_what_its_worker_alone_needs() -> None:
    heavy = {"boto3", "celery", "pydantic", "sqlalchemy", "structlog", "torch", "transformers"}
    code = (
        "import sys, fakesweep.workers.sandbox.process, fakesweep.workers.sandbox.preprocess;"
        f"sys.exit(bool({heavy!r} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _format_of(sample: str) -> str:
    return sample.replace(",", " ").split(maxsplit=1)[0].upper()


def _hollow_png(edge: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(b"\x00" * 100)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, pixels, b"IEND")
    )
