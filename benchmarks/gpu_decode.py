"""Synthetic JPEGs like ImageNet's, and the rate at which bare processes decode and resize them."""

import io
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.corpus import SIZES
from fakesweep.schema.settings import Settings
from fakesweep.workers.sandbox.allocator import keep_freed_memory
from fakesweep.workers.sandbox.decode import decode
from fakesweep.workers.sandbox.preprocess import Preprocessing

PICTURES = 1_024
"""Limit of drawn pictures of 500 pixels, lower for larger ones; further files repeat one of them
with a different comment."""

SIDE = 500
"""The longer side of ImageNet's photographs, in pixels."""

_SIZES = SIZES[:8]
SHORTEST_SHARE = min(min(size) for size in _SIZES) / SIDE
"""Smallest ratio of a picture's shorter side to its longer one."""

_QUALITY = 93
_KEPT_BYTES = 256 * 1024**2
_START_SECONDS = 120


def make_pictures(folder: Path, images: int, cores: int, side: int = SIDE) -> list[Path]:
    """Return the paths of `images` JPEGs with distinct bytes; make missing ones.

    `side` is the longer side in pixels; at 500 the files have about ImageNet's size in bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = min(PICTURES * SIDE**2 // side**2, images)
    shares = [range(drawn)[first::cores] for first in range(min(cores, drawn))]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(shares), mp_context=spawn) as pool:
        for _ in pool.map(partial(_write, folder, images, drawn, side), shares):
            pass
    return [_path(folder, number) for number in range(images)]


def decode_rates(
    paths: Sequence[Path], steps: Preprocessing, needed_side: int | None, cores: int, repeats: int
) -> tuple[float, ...]:
    """Return images a second of one bare process for each core that reads, decodes and resizes.

    The processes make the loaders' calls only; `needed_side` selects `fast` decoding.

    Raises:
        RuntimeError: a process failed.
    """
    spawn = multiprocessing.get_context("spawn")
    barrier, times = spawn.Barrier(cores), spawn.SimpleQueue()
    processes = [
        spawn.Process(
            target=_decode,
            args=(paths[number::cores], steps, needed_side, repeats, barrier, times),
            daemon=True,
        )
        for number in range(cores)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a process that decodes failed; it said why above")
    spans: list[list[tuple[float, float]]] = [times.get() for _ in processes]
    return tuple(
        len(paths) / (max(end for _, end in repeat) - min(start for start, _ in repeat))
        for repeat in zip(*spans, strict=True)
    )


def _decode(  # noqa: PLR0917 - processes get positional arguments
    paths: Sequence[Path],
    steps: Preprocessing,
    needed_side: int | None,
    repeats: int,
    barrier: Barrier,
    times: Any,
) -> None:
    keep_freed_memory(_KEPT_BYTES)  # as a loader does
    most = Settings().max_image_pixels
    spans = []
    for _ in range(repeats):
        barrier.wait(_START_SECONDS)
        started = time.monotonic()
        for path in paths:
            steps.prepare(decode(path.read_bytes(), most, needed_side).pixels)
        spans.append((started, time.monotonic()))
    times.put(spans)


def _write(folder: Path, images: int, drawn: int, side: int, share: Sequence[int]) -> None:
    for picture in share:
        numbers = range(picture, images, drawn)
        if all(_path(folder, number).exists() for number in numbers):
            continue
        jpeg = draw(picture, side)
        for number in numbers:
            unfinished = folder / f"{os.getpid()}.unfinished"
            unfinished.write_bytes(with_comment(jpeg, f"number {number}".encode()))
            unfinished.rename(_path(folder, number))


def draw(picture: int, side: int = SIDE) -> bytes:
    """Return a JPEG of noise whose strength grows with its scale, as in photographs."""
    dice = np.random.default_rng(picture)
    width, height = (one * side // SIDE for one in _SIZES[int(dice.integers(len(_SIZES)))])
    across, down = np.fft.rfftfreq(width), np.fft.fftfreq(height)
    scale = np.hypot(across[None, :], down[:, None])
    scale[0, 0] = np.inf
    planes = []
    for _ in range(3):
        waves = np.fft.rfft2(dice.standard_normal((height, width))) / scale ** dice.uniform(1, 1.3)
        plane = np.fft.irfft2(waves, (height, width))
        planes.append(plane / plane.std())
    grey, *tints = planes
    colours = np.stack([grey, grey + 0.3 * tints[0], grey + 0.3 * tints[1]], axis=-1)
    pixels = (128 + 50 * colours).clip(0, 255).astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "JPEG", quality=_QUALITY)
    return written.getvalue()


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """Return the same picture with a comment, which changes its bytes."""
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    return jpeg[:2] + segment + jpeg[2:]


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.jpg"
