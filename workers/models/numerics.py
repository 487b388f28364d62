"""Arithmetic around a network: pixels to inputs, logits to probabilities."""

from collections.abc import Sequence

import torch

from fakesweep.workers.sandbox.preprocess import Floats, Pixels, Preprocessing

ModelInput = Pixels | Floats
"""A model's input: uint8 [height, width, 3], or float32 [3, height, width]."""


def scale_and_shift(steps: Preprocessing) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the factor and the offset of normalisation by channel, each float32 [3]."""
    std, mean = torch.tensor(steps.std), torch.tensor(steps.mean)
    return steps.rescale_factor / std, -mean / std


def probabilities(logits: torch.Tensor, *, is_multi_label: bool) -> torch.Tensor:
    """Return float32 probabilities [images, labels] of logits [images, labels].

    A single logit is the log-odds of two classes and gives two probabilities.
    """
    scores = logits.float()
    if scores.shape[-1] == 1:
        scores = torch.cat([scores, torch.zeros_like(scores)], dim=-1)
        return scores.softmax(dim=-1)
    return scores.sigmoid() if is_multi_label else scores.softmax(dim=-1)


def shape_of(prepared: Sequence[ModelInput]) -> tuple[int, ...]:
    """Return the common shape of the images.

    Raises:
        ValueError: the images differ in size.
    """
    shapes = {image.shape for image in prepared}
    if len(shapes) > 1:
        raise ValueError(f"images of unequal size: {sorted(shapes)}")
    return shapes.pop()
