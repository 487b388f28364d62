"""CPU engine: runs a network in buffers that are kept between calls.

Fresh memory for each call would cost many times the arithmetic.
"""

from collections.abc import Callable, Sequence

import torch

from fakesweep.workers.models.numerics import ModelInput, probabilities, scale_and_shift, shape_of
from fakesweep.workers.models.place import Precision
from fakesweep.workers.sandbox.preprocess import Preprocessing


class CpuEngine:
    """Runs a network on the CPU; used by one thread. `threads` is torch's number of threads."""

    calls_ahead = 0

    def __init__(
        self,
        network: torch.nn.Module,
        precision: Precision,
        steps: Preprocessing | None,
        *,
        is_multi_label: bool = False,
    ) -> None:
        self.network = network
        self.threads = torch.get_num_threads()
        self._steps = steps
        self._is_multi_label = is_multi_label
        self._batch = torch.empty(0, dtype=precision.dtype)
        self._floats = self._scale = self._shift = torch.empty(0)

    def start(self, prepared: Sequence[ModelInput]) -> Callable[[], torch.Tensor]:
        """Score images; return a function that returns probabilities, float32 [images, labels].

        Raises:
            ValueError: the images differ in size.
            RuntimeError: the network cannot score them.
        """
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.inference_mode():
            logits = self.network(pixel_values=self._gathered(prepared)).logits
            scores = probabilities(logits, is_multi_label=self._is_multi_label)
        return lambda: scores

    def _gathered(self, prepared: Sequence[ModelInput]) -> torch.Tensor:
        """Return normalised [images, 3, height, width], valid until the next call."""
        shape = shape_of(prepared)
        if len(self._batch) < len(prepared) or self._batch.shape[1:] != shape:
            self._make_room(len(prepared), shape)
        batch = self._batch[: len(prepared)]
        if self._steps is None:
            for image, place in zip(prepared, batch, strict=True):
                place.copy_(torch.tensor(image))
            return batch
        # One image at a time stays in the processor's cache through all steps.
        for image, place in zip(prepared, batch, strict=True):
            pixels = torch.from_numpy(image if image.flags.writeable else image.copy())
            torch.mul(pixels.view(self._floats.shape), self._scale, out=self._floats)
            self._floats.add_(self._shift)
            place.view(self._floats.shape).copy_(self._floats)
        return batch.permute(0, 3, 1, 2)

    def _make_room(self, images: int, shape: tuple[int, ...]) -> None:
        self._batch = torch.empty(images, *shape, dtype=self._batch.dtype)
        if self._steps is not None:
            height, width, channels = shape
            self._floats = torch.empty(height, width * channels)
            self._scale, self._shift = (one.repeat(width) for one in scale_and_shift(self._steps))
