"""Rates of the device itself, and of a loaded model with unlimited images."""

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch

from fakesweep.schema.failures import ImageFailure
from fakesweep.schema.words import Lane
from fakesweep.workers.models.load import LoadedModel
from fakesweep.workers.models.place import Place
from fakesweep.workers.scoring.device_queue import DeviceQueue

CHUNK_IMAGES = 64
"""Images submitted to the device queue at once, as by a loader."""

_DISTINCT_IMAGES = 512
_MATRIX_SIDE = 8_192
_CPU_MATRIX_SIDE = 2_048
_LEAST_CALLS = 3


def matrix_tflops(place: Place, seconds: float) -> tuple[float, ...]:
    """Return the rates of `torch.mm` on random square matrices, in 10^12 operations a second.

    The matrices have the place's precision and a width of 8192 (on a CPU 2048).
    """
    side = _MATRIX_SIDE if place.device.type == "cuda" else _CPU_MATRIX_SIDE
    a, b = (
        torch.randn(side, side, device=place.device, dtype=place.precision.dtype) for _ in range(2)
    )
    taken = _timed_calls(place, lambda: torch.mm(a, b), seconds)
    return tuple(2 * side**3 / one / 1e12 for one in taken)


def network_rates(model: LoadedModel, seconds: float) -> tuple[float, ...]:
    """Return images a second of a model's plain network, a rate for each call.

    The network is neither compiled nor recorded, and its images are already on the device.
    """
    height, width, _ = _pixels_of(model, 1)[0].shape
    place, network, images = model.place, model.engine.network, model.call_images
    batch = torch.randn(images, 3, height, width, device=place.device, dtype=place.precision.dtype)
    with torch.inference_mode():
        taken = _timed_calls(place, lambda: network(pixel_values=batch), seconds)
    return tuple(images / one for one in taken)


def engine_rate(model: LoadedModel, device: DeviceQueue, seconds: float) -> float:
    """Return images a second of a model through the device queue, from a loader's arrays.

    It includes copies in both directions and normalisation. The clock stops at the last answer.

    Raises:
        RuntimeError: the model cannot score the images.
    """
    chunk_images = min(CHUNK_IMAGES, model.call_images)  # a slow device's clock stops in time
    chunks = _endless_chunks(_pixels_of(model, _DISTINCT_IMAGES), chunk_images)
    futures: list[Future[Any]] = []
    started = time.perf_counter()
    while time.perf_counter() < started + seconds:
        futures.append(device.submit(model, next(chunks), Lane.BULK))
    answers = [future.result() for future in futures]
    taken = time.perf_counter() - started
    flat = itertools.chain.from_iterable(answers)
    failure = next((answer for answer in flat if isinstance(answer, ImageFailure)), None)
    if failure is not None:
        raise RuntimeError(f"{model.identity.key}: {failure}")
    return sum(map(len, answers)) / taken


def _endless_chunks(pixels: list[Any], chunk_images: int) -> Iterator[list[Any]]:
    for first in itertools.cycle(range(0, len(pixels), chunk_images)):
        yield pixels[first : first + chunk_images]


def _pixels_of(model: LoadedModel, images: int) -> list[Any]:
    """Return random preprocessed images, uint8 [height, width, 3]."""
    steps = model.steps
    if steps is None or (steps.crop or steps.size) is None:
        raise RuntimeError(f"{model.identity.key} has no input of one size")
    height, width = steps.crop or steps.size or (0, 0)
    dice = np.random.default_rng(0)
    return list(dice.integers(0, 256, (images, height, width, 3), np.uint8))


def _timed_calls(place: Place, call: Callable[[], object], seconds: float) -> list[float]:
    """Return the seconds of each call, after warm-up calls."""
    for _ in range(_LEAST_CALLS):
        call()
    _synchronise(place)
    one_call = _seconds_of(place, call, 1)
    # Each measurement has several calls, so that a start overlaps the call before.
    together = max(1, int(seconds / 10 / max(one_call, 1e-6)))
    taken = [_seconds_of(place, call, together) / together for _ in range(_LEAST_CALLS)]
    while sum(taken) * together < seconds:
        taken.append(_seconds_of(place, call, together) / together)
    return taken


def _seconds_of(place: Place, call: Callable[[], object], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        call()
    _synchronise(place)
    return time.perf_counter() - started


def _synchronise(place: Place) -> None:
    if place.device.type == "cuda":
        torch.cuda.synchronize(place.device)
