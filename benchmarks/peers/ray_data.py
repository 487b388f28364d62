"""Ray Data: decode in its tasks, score in one actor, write Parquet."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset
import ray
import torch
from transformers import AutoImageProcessor

from benchmarks.peers.classifier import Classifier, open_image
from benchmarks.peers.marks import FIRST, LAST, READY, ROWS, mark

CORES = len(os.sched_getaffinity(0))
BATCH = 64
IMAGES_IN_BLOCK = 128

ACTOR_CPUS = 0.0
"""Cores reserved for the actor; Ray counts tasks, so a reserved core would be lost to decoding."""


class Scores:
    """The actor that holds the model."""

    def __init__(self, checkpoint: str, out: str) -> None:
        self._classifier = Classifier(Path(checkpoint), CORES)
        self._out = Path(out)
        self._out.mkdir(exist_ok=True)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Score a batch of prepared images; a broken one gets no score."""
        good = [n for n, is_good in enumerate(batch["is_good"]) if is_good]
        pixels = torch.from_numpy(np.stack([batch["pixels"][n] for n in good])) if good else None
        found = [] if pixels is None else self._classifier.scores(pixels)
        scores = dict(zip(good, found, strict=True))
        mark(self._out, FIRST)
        return {
            "path": batch["path"],
            "p_fake": [scores.get(n, float("nan")) for n in range(len(batch["path"]))],
        }


class Prepare:
    """Decoding and preprocessing; each process loads the processor once."""

    def __init__(self, checkpoint: str) -> None:
        self._checkpoint = checkpoint
        self._processor: Any = None

    def prepare(self, row: dict[str, Any]) -> dict[str, Any]:
        """Decode and prepare one image."""
        if self._processor is None:
            self._processor = AutoImageProcessor.from_pretrained(self._checkpoint)
        image = open_image(row["path"])
        side = self._processor.size
        shape = (3, side["height"], side["width"])
        if image is None:
            return {**row, "is_good": False, "pixels": np.zeros(shape, np.float32)}
        pixels = self._processor(images=image, return_tensors="np")["pixel_values"][0]
        return {**row, "is_good": True, "pixels": pixels}


def main() -> None:
    """Classify a folder."""
    folder, checkpoint, out = map(Path, sys.argv[1:4])
    ray.init(num_cpus=CORES, include_dashboard=False, logging_level="ERROR")
    paths = sorted(map(str, folder.iterdir()))
    _classify(paths[:BATCH], checkpoint, out / "warm")
    mark(out, READY)
    _classify(paths, checkpoint, out)
    mark(out, LAST)
    mark(out, ROWS, pyarrow.dataset.dataset(out / "scores", format="parquet").count_rows())


def _classify(paths: list[str], checkpoint: Path, out: Path) -> None:
    rows = [{"path": path} for path in paths]
    (
        ray.data.from_items(rows, override_num_blocks=max(CORES, len(rows) // IMAGES_IN_BLOCK))
        .map(Prepare(str(checkpoint)).prepare)
        .map_batches(
            Scores,
            fn_constructor_args=(str(checkpoint), str(out)),
            batch_size=BATCH,
            concurrency=1,
            num_cpus=ACTOR_CPUS,
        )
        .write_parquet(str(out / "scores"))
    )


if __name__ == "__main__":
    main()
