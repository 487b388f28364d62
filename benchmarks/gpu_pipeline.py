"""Baseline: transformers' own pipeline, used as in its documentation."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import REPOSITORY

LEAST_IMAGES = 128
IMAGES_PER_SIZE = 8

_OURS = "OMP_WAIT_POLICY"
"""Variable that fakesweep's workers set for themselves."""


def pipeline_rates(
    checkpoint: Path, paths: Sequence[Path], device: str, batch_sizes: Sequence[int], repeats: int
) -> dict[int, tuple[float, ...]]:
    """Return images a second of transformers' pipeline over files, by batch size.

    It runs in a separate process without fakesweep. Each size runs `IMAGES_PER_SIZE` batches, and
    at least `LEAST_IMAGES` images, after a warm-up call.

    Raises:
        RuntimeError: the process failed; the message is its last line.
    """
    environment = {name: value for name, value in os.environ.items() if name != _OURS}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_pipeline", str(checkpoint), device, str(repeats),
         *map(str, batch_sizes)],
        input="\n".join(map(str, paths)), env=environment, cwd=REPOSITORY,
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise RuntimeError(said[-1] if said else f"it ended with {done.returncode}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {size: tuple(rates) for size, rates in zip(batch_sizes, found, strict=True)}


def main() -> None:
    """Classify the files named on standard input; print the rates of each batch size as JSON."""
    from transformers import pipeline  # noqa: PLC0415 - slow, and for this process only
    from transformers.utils import logging  # noqa: PLC0415 - as above

    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_pipeline", description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("device")
    parser.add_argument("repeats", type=int)
    parser.add_argument("batch_sizes", type=int, nargs="+")
    asked = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    classify = pipeline("image-classification", model=asked.checkpoint, device=asked.device)
    paths = sys.stdin.read().split("\n")
    found = []
    for size in asked.batch_sizes:
        some = paths[: max(LEAST_IMAGES, IMAGES_PER_SIZE * size)]
        classify(some[:size], batch_size=size)
        found.append([_rate(classify, some, size) for _ in range(asked.repeats)])
    print(json.dumps(found))


def _rate(classify: Any, paths: Sequence[str], batch_size: int) -> float:
    started = time.perf_counter()
    answers = classify(paths, batch_size=batch_size)
    return len(answers) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
