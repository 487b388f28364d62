from pathlib import Path

import pytest
from PIL import Image

from benchmarks.checkpoints import Name, make_checkpoint
from fakesweep.schema.judging.catalogue import ModelEntry
from fakesweep.workers.models.load import load_model
from tests.support.reference import FLOAT32_ON_CPU


def _scores(name: Name, folder: Path) -> list[tuple[float, ...]]:
    checkpoint = make_checkpoint(name, folder)
    model = load_model(ModelEntry(str(checkpoint), str(checkpoint)), FLOAT32_ON_CPU)
    colours = ((250, 10, 10), (10, 10, 250))
    images = [Image.new("RGB", (300, 200), colour) for colour in colours]
    found = model.classify([model.prepare(image) for image in images])
    return [scores for scores in found if isinstance(scores, tuple)]


@pytest.mark.parametrize("name", ["null", "tiny"])
def test_a_checkpoint_loads_as_production_loads_it_and_tells_colours_apart(
    name: Name, tmp_path: Path
) -> None:
    one, other = _scores(name, tmp_path)
    assert one != other


def test_a_checkpoint_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    weights = make_checkpoint("null", tmp_path) / "model.safetensors"
    written = weights.stat().st_mtime_ns
    make_checkpoint("null", tmp_path)
    assert weights.stat().st_mtime_ns == written
