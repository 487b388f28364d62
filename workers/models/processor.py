"""Image processors of checkpoints, converted to plain steps where the outputs agree."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from PIL import Image
from transformers import AutoImageProcessor

from fakesweep.schema.errors import ModelError
from fakesweep.workers.sandbox.preprocess import Floats, Preprocessing

TOLERANCE = 1e-5
"""Largest difference of normalised values (about -1 to 1) between plain steps and processor."""

# Wide, large, tall, and smaller than a crop; `_probes` adds one with a transparent colour.
_PROBE_SIZES = ((97, 61), (640, 480), (33, 500), (7, 5))
_CROP_ONLY_BELOW = 384  # ConvNeXt's own rule: from this size on it resizes to the square

_log = structlog.get_logger(__name__)


def load_processor(key: str, folder: Path) -> Any:
    """Load the Pillow image processor of a checkpoint.

    Raises:
        ModelError: the processor needs several images, or returns more than pixels.
    """
    processor = AutoImageProcessor.from_pretrained(
        folder, backend="pil", trust_remote_code=False, local_files_only=True
    )
    outputs = sorted(processor(images=next(_probes()), return_tensors="np"))
    if outputs != ["pixel_values"]:
        raise ModelError(
            f"model {key!r} is fed {', '.join(outputs)}; only models that are fed pixel_values "
            f"alone are supported"
        )
    return processor


def plain_steps(key: str, processor: Any) -> Preprocessing | None:
    """Return plain steps that agree with the processor on every probe image, or None."""
    try:
        steps = _read_steps(processor)
        worst = max(
            _difference(steps.normalised(steps.prepare(probe)), run_processor(processor, probe))
            for probe in _probes()
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        _log.info("processor_kept", model=key, why=str(error))
        return None
    if worst > TOLERANCE:
        _log.info("processor_kept", model=key, difference=worst)
        return None
    return steps


def run_processor(processor: Any, image: Image.Image) -> Floats:
    """Return the processor's output for an image, float32 [3, height, width]."""
    pixels = processor(images=image, return_tensors="np")["pixel_values"][0]
    return np.asarray(pixels, dtype=np.float32)


def _read_steps(processor: Any) -> Preprocessing:
    size = processor.size if processor.do_resize else None
    height_width = _height_width(size)
    shortest_edge = size.shortest_edge if size is not None and height_width is None else None
    crop = _height_width(processor.crop_size) if processor.do_center_crop else None
    crop_pct = getattr(processor, "crop_pct", None)
    if crop_pct is not None and shortest_edge is not None:
        square = (shortest_edge, shortest_edge)
        if shortest_edge < _CROP_ONLY_BELOW:
            shortest_edge, crop = int(shortest_edge / crop_pct), square
        else:
            height_width, shortest_edge = square, None
    return Preprocessing(
        transparency_on_white=bool(processor.do_convert_rgb),
        size=height_width,
        shortest_edge=shortest_edge,
        resample=int(
            Image.Resampling.BILINEAR if processor.resample is None else processor.resample
        ),
        crop=crop,
        rescale_factor=float(processor.rescale_factor) if processor.do_rescale else 1.0,
        mean=_per_channel(processor.image_mean) if processor.do_normalize else (0.0, 0.0, 0.0),
        std=_per_channel(processor.image_std) if processor.do_normalize else (1.0, 1.0, 1.0),
    )


def _height_width(size: Any) -> tuple[int, int] | None:
    if size is None or not (size.height and size.width):
        return None
    return int(size.height), int(size.width)


def _per_channel(value: Any) -> tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, tuple | list) else (float(value),) * 3


def _probes() -> Iterator[Image.Image]:
    noise = np.random.default_rng(20)
    for width, height in _PROBE_SIZES:
        gradient = np.linspace(0, 255, width * height * 3).reshape(height, width, 3)
        grain = noise.integers(-60, 60, size=gradient.shape)
        yield Image.fromarray((gradient + grain).clip(0, 255).astype(np.uint8))
    keyed = Image.new("RGB", (50, 40), (10, 200, 30))
    keyed.paste((200, 10, 30), (5, 5, 25, 30))
    keyed.info["transparency"] = (200, 10, 30)
    yield keyed


def _difference(mine: Floats, reference: Floats) -> float:
    if mine.shape != reference.shape:
        return float("inf")
    return float(np.abs(mine - reference).max())
