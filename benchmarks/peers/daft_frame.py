"""Daft: its own reader, decoder and resize, our class for the model, Parquet."""

import os
import sys
from pathlib import Path
from typing import Any

import daft
import numpy as np
import pyarrow.dataset
from daft import DataType, col

from benchmarks.peers.classifier import Classifier, input_size
from benchmarks.peers.marks import FIRST, LAST, READY, ROWS, mark

BATCH = 64


@daft.cls(max_concurrency=1, use_process=False)
class Scores:
    """The model, on images decoded and resized by Daft's kernels."""

    def __init__(self, checkpoint: str, out: str) -> None:
        self._classifier = Classifier(Path(checkpoint), len(os.sched_getaffinity(0)))
        self._out = Path(out)
        self._out.mkdir(exist_ok=True)

    @daft.method.batch(  # type: ignore[untyped-decorator]  # Daft is not installed beside mypy
        return_dtype=DataType.float32(), batch_size=BATCH
    )
    def score(self, column: Any) -> list[float | None]:
        """Score a batch of images, uint8 [height, width, 3]; a broken one gets no score."""
        pixels = column.to_pylist()
        good = [n for n, image in enumerate(pixels) if image is not None]
        images = [np.array(pixels[n]) for n in good]
        found = self._classifier.scores(self._classifier.normalise(images)) if good else []
        scores = dict(zip(good, found, strict=True))
        mark(self._out, FIRST)
        return [scores.get(n) for n in range(len(pixels))]


def main() -> None:
    """Classify a folder."""
    folder, checkpoint, out = map(Path, sys.argv[1:4])
    paths = sorted(map(str, folder.iterdir()))
    _classify(paths[:BATCH], checkpoint, out / "warm")
    mark(out, READY)
    _classify(paths, checkpoint, out)
    mark(out, LAST)
    mark(out, ROWS, pyarrow.dataset.dataset(out / "scores", format="parquet").count_rows())


def _classify(paths: list[str], checkpoint: Path, out: Path) -> None:
    height, width = input_size(checkpoint)
    scores = Scores(str(checkpoint), str(out))
    (
        daft.from_pydict({"path": paths})
        .with_column("image", col("path").download(on_error="null"))
        .with_column("image", col("image").decode_image(on_error="null", mode="RGB"))
        .with_column("image", col("image").resize(width, height))
        .with_column("p_fake", scores.score(col("image")))
        .select("path", "p_fake")
        .write_parquet(str(out / "scores"))
    )


if __name__ == "__main__":
    main()
