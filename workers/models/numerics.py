"""What is computed around a network on every device: pixels to numbers, logits to probabilities."""

from collections.abc import Sequence

import torch

from fakesweep.workers.sandbox.preprocess import Floats, Pixels, Preprocessing

ModelInput = Pixels | Floats
"""An image ready for a model: uint8 [height, width, 3], or float32 [3, height, width]."""


def scale_and_shift(steps: Preprocessing) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a pixel's bytes are multiplied by, and what is added then, each float32 [3]."""
    std, mean = torch.tensor(steps.std), torch.tensor(steps.mean)
    return steps.rescale_factor / std, -mean / std


def probabilities(logits: torch.Tensor, *, is_multi_label: bool) -> torch.Tensor:
    """Return float32 probabilities [images, labels] of logits, which are as many.

    A single logit is the log-odds of one class against another: two probabilities come of it.
    """
    scores = logits.float()
    if scores.shape[-1] == 1:
        scores = torch.cat([scores, torch.zeros_like(scores)], dim=-1)
        return scores.softmax(dim=-1)
    return scores.sigmoid() if is_multi_label else scores.softmax(dim=-1)


def shape_of(prepared: Sequence[ModelInput]) -> tuple[int, ...]:
    """Return the shape that all of these images have.

    Raises:
        ValueError: they are of unequal size.
    """
    shapes = {image.shape for image in prepared}
    if len(shapes) > 1:
        raise ValueError(f"images of unequal size: {sorted(shapes)}")
    return shapes.pop()
