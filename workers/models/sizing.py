"""How much of this machine a model gets: its threads, and how many images a call holds."""

import os
import time

import torch

from fakesweep.workers.models.gpu import GpuEngine, small_call
from fakesweep.workers.models.loaded import TRIAL, LoadedModel

GPU_CALL_IMAGES = 256
CPU_CALL_IMAGES = 64
CPU_CALL_SECONDS = 0.4
"""A call on a CPU lasts about so long at most, which keeps fresh uploads quick."""

CPU_URGENT_SECONDS = 0.0125
"""While there are uploads, a call lasts about so long, since the next one cannot overtake it."""

DECODE_SECONDS = 0.002
"""About what a photograph costs a core before it reaches the model."""

_TIMED_CALLS = 3
_LIGHT_SECONDS = 0.02
_LIGHT_IMAGES = 16
_LEAST_SECONDS = 1e-6


def fit(model: LoadedModel, *, cpu_threads: int = 0, call_images: int = 0) -> None:
    """Size a model for its device; numbers above 0 are taken as they are.

    A GPU wants many images in a call. A CPU gains little from many, and shares its cores with the
    loaders: a model gets as many of them as its share of an image's work.

    Raises:
        OutOfMemoryError: torch's, where the device has no memory for a single image.
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
    """Return how many of the cores score, where an image takes a core so long; the others load."""
    return max(1, round(cores * seconds / (seconds + DECODE_SECONDS)))


def _seconds_for_an_image(model: LoadedModel) -> float:
    """Return the processor's time: loaders and neighbours are busy while a worker starts."""
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
    """Compile for full calls, smaller ones where the device has no memory for these."""
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
