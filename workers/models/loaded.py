"""A model in memory: prepares images on any thread, scores them on the device's thread."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
import torch
from PIL import Image

from fakesweep.schema.errors import DeviceError
from fakesweep.schema.failures import ModelFailed
from fakesweep.schema.ledger.registry.models import ModelIdentity
from fakesweep.workers.error_text import one_line
from fakesweep.workers.models.cpu import CpuEngine
from fakesweep.workers.models.gpu import GpuEngine
from fakesweep.workers.models.numerics import ModelInput
from fakesweep.workers.models.place import Place
from fakesweep.workers.models.processor import run_processor
from fakesweep.workers.sandbox.preprocess import Pixels, Preprocessing

Scores = tuple[float, ...]
Answers = list[Scores | ModelFailed]

TRIAL = Image.new("RGB", (640, 480), "grey")
"""Test picture that every sound model can score."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class LoadedModel:
    """A classifier on its device, in evaluation mode; one thread at a time scores with it.

    `seconds` is the load time. `preprocessing` is a `Preprocessing`, or transformers' own
    processor where plain steps cannot express it. `call_images` is the largest number of images
    in a call; it shrinks when the device runs out of memory. `urgent_images` is the size of a
    short call, for live images and, on a CPU, just before them.
    """

    identity: ModelIdentity
    seconds: float
    place: Place
    engine: CpuEngine | GpuEngine = field(repr=False)
    preprocessing: Preprocessing | Any = field(repr=False)
    call_images: int = 1
    urgent_images: int = 1

    @property
    def steps(self) -> Preprocessing | None:
        """Preprocessing for the loader; None where the processor needs the decoded image."""
        return self.preprocessing if isinstance(self.preprocessing, Preprocessing) else None

    def finish(self, pixels: Pixels) -> ModelInput:
        """Turn a loader's pixels into the model's input.

        Raises:
            ModelFailed: the image cannot be prepared.
        """
        return pixels if self.steps else self.prepare(Image.fromarray(pixels))

    def prepare(self, image: Image.Image) -> ModelInput:
        """Turn an RGB image into the model's input; thread-safe.

        Returns uint8 [height, width, 3] for normalisation on the device, or float32
        [3, height, width] from transformers' own processor.

        Raises:
            ModelFailed: the image cannot be prepared.
        """
        try:
            if isinstance(self.preprocessing, Preprocessing):
                return self.preprocessing.prepare(image)
            return run_processor(self.preprocessing, image)
        except (ValueError, TypeError, MemoryError) as error:
            raise ModelFailed(f"it cannot be prepared for the model: {one_line(error)}") from error

    def classify(self, prepared: Sequence[ModelInput]) -> Answers:
        """Return each image's probabilities in label order, or its failure.

        Raises:
            DeviceError: the device itself is broken; no image is to blame.
        """
        return self.start(prepared)() if prepared else []

    def start(self, prepared: Sequence[ModelInput]) -> Callable[[], Answers]:
        """Start a call; return a function that waits for its answers.

        A failed call is repeated in halves, so that only unscorable images become ModelFailed.

        Raises (both):
            DeviceError: the device itself is broken; no image is to blame.
        """
        try:
            return partial(self._wait, self.engine.start(prepared), prepared)
        except (RuntimeError, ValueError) as error:
            return partial(self._in_halves, prepared, error)

    def _wait(self, wait: Callable[[], torch.Tensor], prepared: Sequence[ModelInput]) -> Answers:
        try:
            scores = wait()
        except (RuntimeError, ValueError) as error:
            return self._in_halves(prepared, error)
        finite = torch.isfinite(scores).all(dim=-1).tolist()
        return [
            tuple(row) if is_finite else ModelFailed("the model answered with no finite number")
            for row, is_finite in zip(scores.tolist(), finite, strict=True)
        ]

    def _in_halves(self, prepared: Sequence[ModelInput], error: Exception) -> Answers:
        if isinstance(error, torch.AcceleratorError):
            raise DeviceError(f"device {self.place.device}: {one_line(error)}") from error
        half = len(prepared) // 2
        if is_out_of_memory(error):
            self._shrink(half, error)
        if not half:
            return [ModelFailed(f"the model raised: {one_line(error)}")]
        return self.classify(prepared[:half]) + self.classify(prepared[half:])

    def _shrink(self, images: int, error: Exception) -> None:
        if self.place.device.type == "cuda":
            torch.cuda.empty_cache()
        if not images:
            self._refuse_to_starve(error)
        elif images < self.call_images:
            self.call_images = images
            _log.warning(
                "device_out_of_memory", model=self.identity.key, images_per_call=images,
                reason=one_line(error),
            )  # fmt: skip

    def _refuse_to_starve(self, error: Exception) -> None:
        """Score the trial image, to tell a too large image from a full device."""
        try:
            self.engine.start([self.prepare(TRIAL)])()
        except RuntimeError:
            raise DeviceError(
                f"device {self.place.device} has no memory for a single image: {one_line(error)}"
            ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch ran out of memory, on the device or the host."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
