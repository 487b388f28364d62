"""A model in memory: prepares images on any thread, scores batches of them one call at a time."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from schema.errors import DeviceError
from schema.failures import ModelFailed
from schema.registry import ModelIdentity
from workers.models.preprocess import Floats, Pixels, Preprocessing
from workers.models.processor import run_processor
from workers.wording import one_line

Prepared = Pixels | Floats
Scores = tuple[float, ...]


class Normaliser:
    """Rescales and normalises batches, in memory that it uses again.

    Fresh memory for each batch would cost many times what the arithmetic does.
    """

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def normalise(self, pixels: torch.Tensor, steps: Preprocessing) -> torch.Tensor:
        """Return float32 [N, 3, H, W] of uint8 [N, H, W, 3]; it lasts until the next call."""
        count, height, width, channels = pixels.shape
        if len(self._memory) < count or self._memory.shape[1:] != (channels, height, width):
            self._memory = torch.empty(count, channels, height, width, device=pixels.device)
        std = torch.tensor(steps.std, device=pixels.device).view(1, channels, 1, 1)
        mean = torch.tensor(steps.mean, device=pixels.device).view(1, channels, 1, 1)
        memory = self._memory[:count]
        return (
            memory.copy_(pixels.permute(0, 3, 1, 2))
            .mul_(steps.rescale_factor / std)
            .sub_(mean / std)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedModel:
    """A classifier on its device, in float32 and evaluation mode.

    `seconds` is how long loading took. `preprocessing` is a `Preprocessing`, or transformers'
    own processor where its steps cannot be written as one.
    """

    identity: ModelIdentity
    seconds: float
    device: torch.device
    network: torch.nn.Module = field(repr=False)
    preprocessing: Preprocessing | Any = field(repr=False)
    is_multi_label: bool = False
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _normaliser: Normaliser = field(default_factory=Normaliser, repr=False)

    @property
    def steps(self) -> Preprocessing | None:
        """What a loader does to an image for this model; None where it leaves it as it is."""
        return self.preprocessing if isinstance(self.preprocessing, Preprocessing) else None

    def finish(self, pixels: Pixels) -> Prepared:
        """Make what a loader hands over into the model's input.

        Raises:
            ModelFailed: this image cannot be prepared.
        """
        return pixels if self.steps else self.prepare(Image.fromarray(pixels))

    def prepare(self, image: Image.Image) -> Prepared:
        """Make an RGB image into the model's input, from any thread.

        Returns uint8 [height, width, 3] that `classify` normalises on the device, or float32
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

    def classify(self, prepared: Sequence[Prepared]) -> list[Scores | ModelFailed]:
        """Return the probabilities of each image in the order of the labels.

        Where the call as a whole fails, each image is tried alone, so that only those that
        cannot be scored come back as ModelFailed.

        Raises:
            DeviceError: the device itself is broken; no image is to blame.
        """
        if not prepared:
            return []
        with self._turn:
            try:
                return self._score(prepared)
            except torch.AcceleratorError as error:
                raise DeviceError(f"device {self.device}: {one_line(error)}") from error
            except (RuntimeError, ValueError) as error:
                if len(prepared) == 1:
                    return [ModelFailed(f"the model raised: {one_line(error)}")]
        return [one for alone in prepared for one in self.classify([alone])]

    def _score(self, prepared: Sequence[Prepared]) -> list[Scores | ModelFailed]:
        with torch.inference_mode():
            logits = self.network(pixel_values=self._to_device(np.stack(prepared))).logits.float()
            scores = logits.sigmoid() if self.is_multi_label else logits.softmax(dim=-1)
            finite = torch.isfinite(scores).all(dim=-1).tolist()
        return [
            tuple(row) if is_finite else ModelFailed("the model answered with no finite number")
            for row, is_finite in zip(scores.tolist(), finite, strict=True)
        ]

    def _to_device(self, batch: npt.NDArray[Any]) -> torch.Tensor:
        """Move a batch; uint8 pixels travel as they are and are normalised on the device."""
        moved = torch.from_numpy(batch).to(self.device)
        return moved if self.steps is None else self._normaliser.normalise(moved, self.steps)
