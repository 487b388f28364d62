"""A model in memory: prepares images on any thread, scores calls of them on the device's."""

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
"""Every sound model scores this picture."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class LoadedModel:
    """A classifier on its device, in evaluation mode; its scores are used by one thread at a time.

    `seconds` is how long loading took. `preprocessing` is a `Preprocessing`, or transformers'
    own processor where its steps cannot be written as one. `call_images` is how many images a
    call should hold at most; it shrinks where the device has no memory for so many. A call of
    `urgent_images` is over soon: so many go with live images, or on a CPU before them.
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
        """What a loader does to an image for this model; None where it leaves it as it is."""
        return self.preprocessing if isinstance(self.preprocessing, Preprocessing) else None

    def finish(self, pixels: Pixels) -> ModelInput:
        """Make what a loader hands over into the model's input.

        Raises:
            ModelFailed: this image cannot be prepared.
        """
        return pixels if self.steps else self.prepare(Image.fromarray(pixels))

    def prepare(self, image: Image.Image) -> ModelInput:
        """Make an RGB image into the model's input, from any thread.

        Returns uint8 [height, width, 3] that is normalised on the device, or float32
        [3, height, width] where transformers' own processor did all of it.

        Raises:
            ModelFailed: this image cannot be prepared.
        """
        try:
            if isinstance(self.preprocessing, Preprocessing):
                return self.preprocessing.prepare(image)
            return run_processor(self.preprocessing, image)
        except (ValueError, TypeError, MemoryError) as error:
            raise ModelFailed(f"it cannot be prepared for the model: {one_line(error)}") from error

    def classify(self, prepared: Sequence[ModelInput]) -> Answers:
        """Return the probabilities of each image in the order of the labels.

        Raises:
            DeviceError: the device itself is broken; no image is to blame.
        """
        return self.start(prepared)() if prepared else []

    def start(self, prepared: Sequence[ModelInput]) -> Callable[[], Answers]:
        """Set a call going; the function that is returned waits for its answers.

        Where the call as a whole fails, its halves are tried, so that only the images that cannot
        be scored come back as ModelFailed.

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
        """Tell an image that is too large from a device that has no room for any."""
        try:
            self.engine.start([self.prepare(TRIAL)])()
        except RuntimeError:
            raise DeviceError(
                f"device {self.place.device} has no memory for a single image: {one_line(error)}"
            ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether torch found no memory, on the device or on the host."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
