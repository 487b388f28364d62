"""Models of the GPU benchmark with random weights, and their costs.

A model's speed does not depend on its weights.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    SiglipConfig,
    SiglipForImageClassification,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)
from transformers.utils import logging as transformers_logging

from fakesweep import workers

TINY = "vit-tiny"
"""The bundled `vit-tiny-cifake`, at 32 pixels: tests every part in seconds on any machine."""

_NAMES = {"id2label": {0: "REAL", 1: "FAKE"}, "label2id": {"REAL": 0, "FAKE": 1}}


@dataclass(frozen=True)
class Shape:
    """Dimensions of a vision transformer; image and patch sides are in pixels.

    `extra_tokens` is the number of tokens beside the patches.
    """

    name: str
    side: int
    patch: int = 16
    width: int = 768
    layers: int = 12
    hidden: int = 3_072
    extra_tokens: int = 0

    @property
    def gflop(self) -> float:
        """Return the cost of one image in 10^9 operations; a multiplication and its addition are 2.

        It counts the matrices of the patches and of each layer's attention and perceptron. Norms,
        the classifier and an unused pooling head are below two percent.
        """
        patches = (self.side // self.patch) ** 2
        tokens = patches + self.extra_tokens
        embedding = 2 * patches * 3 * self.patch**2 * self.width
        projections = 2 * tokens * 4 * self.width**2
        attention = 2 * 2 * tokens**2 * self.width
        perceptron = 2 * 2 * tokens * self.width * self.hidden
        return (embedding + self.layers * (projections + attention + perceptron)) / 1e9


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("vit-b-224", 224, extra_tokens=1),
        Shape("siglip-b-224", 224),
        Shape("siglip-b-512", 512),
        Shape(TINY, 32, patch=4, width=128, layers=5, hidden=384, extra_tokens=1),
    )
}


def make_checkpoint(name: str, folder: Path) -> Path:
    """Return the folder of a checkpoint in `save_pretrained`'s form; make it if missing."""
    if name == TINY:
        return Path(workers.__file__).parent / "checkpoints" / "vit-tiny-cifake"
    made = folder / name
    if not made.is_dir():
        torch.manual_seed(0)
        unfinished = folder / f"{name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        for part in make(name):
            part.save_pretrained(unfinished)
        unfinished.rename(made)
    return made


def make(name: str) -> tuple[Any, Any]:
    """Return a network with random weights and its image processor."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    shape = SHAPES[name]
    side = {"height": shape.side, "width": shape.side}
    built: dict[str, Any] = {
        "image_size": shape.side, "patch_size": shape.patch, "hidden_size": shape.width,
        "num_hidden_layers": shape.layers, "intermediate_size": shape.hidden,
    }  # fmt: skip
    if name.startswith("vit"):
        config = ViTConfig(**built, **_NAMES)
        return ViTForImageClassification(config), ViTImageProcessorPil(size=side)
    config = SiglipConfig(vision_config=SiglipVisionConfig(**built).to_dict(), **_NAMES)
    return SiglipForImageClassification(config), SiglipImageProcessorPil(size=side)
