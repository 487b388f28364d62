"""Parity of scores with transformers' own pipeline, for every mode and format."""

import zipfile
from pathlib import Path
from statistics import pstdev

import numpy as np
import pytest
from PIL import Image

from fakesweep.schema.failures import ModelFailed
from fakesweep.schema.judging.catalogue import ModelEntry, read_catalogue
from fakesweep.schema.judging.labels import Side
from fakesweep.workers.models.load import LoadedModel, load_model
from fakesweep.workers.sandbox.decode import decode
from fakesweep.workers.sandbox.preprocess import Preprocessing
from tests.support.checkpoints import Architecture, save_checkpoint
from tests.support.reference import FLOAT32_ON_CPU, reference_scores
from tests.support.samples import every_sample, oriented, picture, written

TOLERANCE = 1e-4
BATCH = 64
MAX_PIXELS = 2_000_000
CIFAKE_IMAGES = 400

ARCHITECTURES: tuple[Architecture, ...] = ("vit", "siglip", "swin", "convnext", "dinov2")
SAMPLES = every_sample()


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def model(folder: Path) -> LoadedModel:
    return load_model(ModelEntry(key="tiny", source=str(folder)), FLOAT32_ON_CPU)


@pytest.fixture(scope="module")
def reference(folder: Path) -> dict[str, float]:
    """Return p_fake of each sample by Pillow and transformers only."""
    return dict(zip(SAMPLES, reference_scores(folder, list(SAMPLES.values())), strict=True))


def test_the_samples_are_told_apart_by_the_reference(reference: dict[str, float]) -> None:
    assert pstdev(reference.values()) > 0.1
    assert len({round(score, 4) for score in reference.values()}) > 0.8 * len(reference)


def test_the_plain_steps_stand_in_for_the_processor(model: LoadedModel) -> None:
    assert isinstance(model.preprocessing, Preprocessing)


def test_each_image_alone_scores_as_in_the_reference(
    model: LoadedModel, reference: dict[str, float]
) -> None:
    scores = {name: _p_fake(model, [content])[0] for name, content in SAMPLES.items()}

    assert scores == pytest.approx(reference, abs=TOLERANCE)


def test_a_full_batch_scores_as_in_the_reference(
    model: LoadedModel, reference: dict[str, float]
) -> None:
    names = (list(SAMPLES) * 2)[:BATCH]

    scores = _p_fake(model, [SAMPLES[name] for name in names])

    assert scores == pytest.approx([reference[name] for name in names], abs=TOLERANCE)


def test_the_orientation_in_exif_changes_the_score(model: LoadedModel) -> None:
    held = [written(picture(5), "PNG", exif=oriented(turn)) for turn in range(1, 9)]

    scores = _p_fake(model, held)

    differences = np.abs(np.subtract.outer(scores, scores))
    assert (differences[~np.eye(8, dtype=bool)] > 10 * TOLERANCE).all()


def test_a_transparent_colour_is_painted_white_only_where_the_processor_does(
    tmp_path: Path,
) -> None:
    sample = decode(SAMPLES["png rgb, one colour transparent"], MAX_PIXELS).pixels
    corner = {}
    for architecture in ("vit", "siglip"):
        checkpoint = save_checkpoint(tmp_path / architecture, architecture)
        loaded = load_model(ModelEntry(key=architecture, source=str(checkpoint)), FLOAT32_ON_CPU)
        corner[architecture] = tuple(loaded.prepare(sample)[12, 9])

    assert corner == {"vit": (7, 8, 9), "siglip": (255, 255, 255)}


def test_a_larger_photograph_scores_as_in_the_reference(model: LoadedModel, folder: Path) -> None:
    large = written(picture(77).resize((1511, 997), Image.Resampling.BICUBIC), "JPEG", quality=93)

    expected = reference_scores(folder, [large])

    assert _p_fake(model, [large]) == pytest.approx(expected, abs=TOLERANCE)


def test_the_bundled_model_knows_cifake_as_well_as_its_card_says(shared: Path) -> None:
    model = load_model(read_catalogue(None).model("vit-tiny-cifake"), FLOAT32_ON_CPU)
    right = 0
    with zipfile.ZipFile(shared / "data" / "cifake-subset.zip") as archive:
        for side in ("REAL", "FAKE"):
            names = sorted(n for n in archive.namelist() if f"test/{side}/" in n and n[-1] != "/")
            chosen = names[:: len(names) // (CIFAKE_IMAGES // 2)][: CIFAKE_IMAGES // 2]
            scores = _p_fake(model, [archive.read(name) for name in chosen])
            right += sum((score > 0.5) == (side == "FAKE") for score in scores)

    # Four standard errors of a share of 0.9373 among 400 images.
    assert right / CIFAKE_IMAGES == pytest.approx(0.9373, abs=0.049)


def _p_fake(model: LoadedModel, contents: list[bytes]) -> list[float]:
    prepared = [model.prepare(decode(content, MAX_PIXELS).pixels) for content in contents]
    answers = model.classify(prepared)
    scores = [answer for answer in answers if not isinstance(answer, ModelFailed)]
    assert len(scores) == len(contents)
    assert model.identity.labels.sides == (Side.REAL, Side.FAKE)
    return [model.identity.labels.p_fake(score) for score in scores]
