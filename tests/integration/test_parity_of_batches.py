"""Parity of PostgreSQL's rows with the reference, through loaders, device and store."""

from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy import Engine
from transformers import EfficientNetImageProcessorPil

from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import from_path
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.process.startup import open_work
from tests.support.batches import publish_scan, result_rows
from tests.support.checkpoints import Architecture, save_checkpoint
from tests.support.reference import reference_scores
from tests.support.samples import every_sample

TOLERANCE = 1e-4
BFLOAT16_TOLERANCE = 0.05
"""Tolerance of bfloat16; the largest deviation of these samples is 0.013 (vit)."""
SAMPLES = list(every_sample().values())


def scores_of_rows(
    folder: Path,
    engine: Engine,
    database_url: str,
    tmp_path: Path,
    *,
    size: int,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> list[float]:
    """Bring the samples through a worker, `size` a call; return p_fake of their rows."""
    uris = []
    for number, content in enumerate(SAMPLES):
        image = tmp_path / f"{number:04}"
        image.write_bytes(content)
        uris.append(from_path(image))
    settings = Settings(
        database_url=database_url,
        broker_url="redis://127.0.0.1:1/0",
        device="cpu",
        precision=precision,
        device_batch_images=size,
        file_roots=(tmp_path,),
    )
    [message] = publish_scan(engine, uris, (str(folder),))
    with open_work(settings) as work:
        run_batch(message, work)
    rows = result_rows(engine, message.scan_id)
    assert [row["failure_message"] for row in rows] == [None] * len(rows)
    return [float(str(row["p_fake"])) for row in rows]


@pytest.mark.parametrize("size", [1, 64])
@pytest.mark.parametrize("architecture", ["vit", "siglip"])
def test_every_mode_and_format_scores_as_in_the_reference(
    engine: Engine, database_url: str, tmp_path: Path, architecture: Architecture, size: int
) -> None:
    folder = save_checkpoint(tmp_path / "model", architecture)
    scores = scores_of_rows(folder, engine, database_url, tmp_path, size=size)
    assert scores == pytest.approx(reference_scores(folder, SAMPLES), abs=TOLERANCE)


def test_a_processor_that_no_plain_steps_express_scores_as_in_the_reference(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    odd = EfficientNetImageProcessorPil(
        size={"height": 32, "width": 32}, rescale_offset=True, include_top=True
    )
    folder = save_checkpoint(tmp_path / "model", processor=odd)
    scores = scores_of_rows(folder, engine, database_url, tmp_path, size=64)
    assert scores == pytest.approx(reference_scores(folder, SAMPLES), abs=TOLERANCE)


@pytest.mark.parametrize("architecture", ["vit", "siglip"])
def test_rows_scored_in_bfloat16_stay_near_the_reference(
    engine: Engine, database_url: str, tmp_path: Path, architecture: Architecture
) -> None:
    folder = save_checkpoint(tmp_path / "model", architecture)
    scores = scores_of_rows(folder, engine, database_url, tmp_path, size=64, precision="bfloat16")
    assert scores == pytest.approx(reference_scores(folder, SAMPLES), abs=BFLOAT16_TOLERANCE)
