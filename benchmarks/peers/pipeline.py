"""Transformers' `pipeline`, fed from a generator as documented, into a CSV file."""

import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import pipeline

from benchmarks.peers.classifier import open_image
from benchmarks.peers.marks import FIRST, LAST, READY, ROWS, mark


def main() -> None:
    """Classify a folder in batches; unreadable images get a row without a score."""
    folder, checkpoint, out, batch = (*map(Path, sys.argv[1:4]), int(sys.argv[4]))
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    classify: Any = pipeline("image-classification", model=str(checkpoint), device="cpu")
    classify(Image.new("RGB", (500, 375), "grey"))
    paths = sorted(map(str, folder.iterdir()))
    opened: list[str] = []
    broken: list[str] = []

    def images() -> Iterator[Any]:
        for path in paths:
            image = open_image(path)
            (broken if image is None else opened).append(path)
            if image is not None:
                yield image

    mark(out, READY)
    with (out / "scores.csv").open("w", newline="") as written:
        rows = csv.writer(written)
        for number, answer in enumerate(classify(images(), batch_size=batch)):
            score = {one["label"]: one["score"] for one in answer}["FAKE"]
            rows.writerow((opened[number], score))
            mark(out, FIRST)
        rows.writerows((path, "") for path in broken)
        written.flush()
        os.fsync(written.fileno())
    mark(out, LAST)
    mark(out, ROWS, len((out / "scores.csv").read_text().splitlines()))


if __name__ == "__main__":
    main()
