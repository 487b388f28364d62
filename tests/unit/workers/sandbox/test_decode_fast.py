"""Fast decoding: JPEGs come out of the decoder smaller; row and fingerprint say the truth."""

from dataclasses import replace
from pathlib import Path

import pytest

from fakesweep.schema.judging.catalogue import ModelEntry
from fakesweep.schema.settings import Settings
from fakesweep.workers.models.load import load_model
from fakesweep.workers.sandbox.decode import decode
from fakesweep.workers.sandbox.preprocess import Preprocessing
from fakesweep.workers.sandbox.process import Loader
from tests.support.checkpoints import save_checkpoint
from tests.support.reference import FLOAT32_ON_CPU
from tests.support.samples import oriented, picture, written

MAX_PIXELS = 10_000_000
STEPS = Preprocessing(
    transparency_on_white=False,
    size=(32, 32),
    shortest_edge=None,
    resample=2,
    crop=None,
    rescale_factor=1 / 255,
    mean=(0.5,) * 3,
    std=(0.5,) * 3,
)


@pytest.fixture(scope="module")
def photograph() -> bytes:
    return written(picture(3).resize((900, 500)), "JPEG", quality=90)


def test_a_jpeg_comes_smaller_but_never_below_the_side_that_is_needed(photograph: bytes) -> None:
    found = decode(photograph, MAX_PIXELS, 64)
    assert found.pixels.size == (225, 125)  # an eighth would leave 63 pixels of height


def test_the_row_tells_the_size_of_the_file_as_shown(photograph: bytes) -> None:
    upright = decode(photograph, MAX_PIXELS, 64)
    turned = decode(
        written(picture(3).resize((900, 500)), "JPEG", exif=oriented(6)), MAX_PIXELS, 64
    )
    assert (upright.width, upright.height) == (900, 500)
    assert (turned.width, turned.height) == (500, 900)
    assert turned.pixels.width < turned.pixels.height < 900


def test_a_jpeg_that_is_small_already_is_the_reference_s(photograph: bytes) -> None:
    assert decode(photograph, MAX_PIXELS, 300).pixels == decode(photograph, MAX_PIXELS).pixels


def test_other_formats_are_decoded_as_they_are() -> None:
    png = written(picture(3).resize((900, 500)), "PNG")
    assert decode(png, MAX_PIXELS, 64).pixels.size == (900, 500)


@pytest.mark.parametrize(
    ("steps", "side"),
    [
        (STEPS, 64),
        (replace(STEPS, size=(20, 48)), 96),
        (replace(STEPS, size=None, shortest_edge=40), 80),
        (replace(STEPS, size=None), None),
    ],
)
def test_twice_the_model_s_own_size_is_needed(steps: Preprocessing, side: int | None) -> None:
    assert steps.needed_side == side


def test_a_loader_decodes_once_for_the_model_that_needs_most() -> None:
    large = replace(STEPS, size=(512, 512))
    as_it_is = replace(STEPS, size=None)
    loader = Loader.__new__(Loader)
    loader._settings = Settings(decode="fast")
    assert loader._needed_side([STEPS, large]) == 1024
    assert loader._needed_side([STEPS, as_it_is]) is None
    assert loader._needed_side([STEPS, None]) is None
    loader._settings = Settings(decode="exact")
    assert loader._needed_side([STEPS]) is None


def test_the_fingerprint_says_how_images_were_decoded(tmp_path: Path) -> None:
    entry = ModelEntry(key="tiny", source=str(save_checkpoint(tmp_path)))
    exact, fast = (
        load_model(entry, FLOAT32_ON_CPU, decoding=decoding).identity
        for decoding in ("exact", "fast")
    )
    assert (exact.preprocessing["decode"], fast.preprocessing["decode"]) == ("exact", "fast")
    assert exact.fingerprint != fast.fingerprint
