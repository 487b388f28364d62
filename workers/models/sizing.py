"""Sizing of a model: its threads and the number of images in a call."""

import os
import time

import torch

from fakesweep.workers.models.gpu import GpuEngine, small_call
from fakesweep.workers.models.loaded import TRIAL, LoadedModel

GPU_CALL_IMAGES = 256
CPU_CALL_IMAGES = 64
CPU_CALL_SECONDS = 0.4
"""Target duration of a CPU call; short enough for fresh uploads."""

CPU_URGENT_SECONDS = 0.0125
"""Target duration of a CPU call during uploads, which cannot overtake a running call."""

DECODE_SECONDS = 0.002
"""Approximate processor time of loading a photograph."""

_TIMED_CALLS = 3
_LIGHT_SECONDS = 0.02
_LIGHT_IMAGES = 16
_LEAST_SECONDS = 1e-6


def fit(model: LoadedModel, *, cpu_threads: int = 0, call_images: int = 0) -> None:
    """Set a model's threads and call sizes for its device; arguments above 0 override them.

    A GPU needs large calls. A CPU gains little from them and shares its cores with the loaders; a
    model gets the cores in proportion to its part of an image's work.

    Raises:
        OutOfMemoryError: torch's: the device has no memory for a single image.
    """
    if isinstance(model.engine, GpuEngine):
        model.call_images = call_images or GPU_CALL_IMAGES
        _quicken(model, model.engine)
        model.urgent_images = small_call(model.call_images)
        return
    model.engine.threads = 1
    seconds = max(_seconds_for_an_image(model), _LEAST_SECONDS)
    model.engine.threads = cpu_threads or threads_for(seconds, len(os.sched_getaffinity(0)))
    a_second = model.engine.threads / seconds
    fitting = max(1, min(CPU_CALL_IMAGES, int(CPU_CALL_SECONDS * a_second)))
    model.call_images = call_images or fitting
    model.urgent_images = max(1, min(model.call_images, int(CPU_URGENT_SECONDS * a_second)))


def threads_for(seconds: float, cores: int) -> int:
    """Return the number of scoring cores; `seconds` is an image's time on one core."""
    return max(1, round(cores * seconds / (seconds + DECODE_SECONDS)))


def _seconds_for_an_image(model: LoadedModel) -> float:
    """Return the processor time of an image; wall time would count loaders and neighbours."""
    alone = _timed(model, 1)
    return alone if alone > _LIGHT_SECONDS else _timed(model, _LIGHT_IMAGES)


def _timed(model: LoadedModel, images: int) -> float:
    batch = [model.prepare(TRIAL)] * images
    seconds = []
    for _ in range(_TIMED_CALLS):
        started = time.process_time()
        model.classify(batch)
        seconds.append((time.process_time() - started) / images)
    return min(seconds)


def _quicken(model: LoadedModel, engine: GpuEngine) -> None:
    """Compile for full calls, halved until they fit into the device's memory."""
    while True:
        try:
            engine.quicken(model.identity.key, model.prepare(TRIAL), model.call_images)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            if model.call_images == 1:
                raise
            model.call_images //= 2
        else:
            return
