"""Plain transformers model in float32, for peers without a model of their own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from transformers import AutoImageProcessor, AutoModelForImageClassification


class Classifier:
    """A checkpoint and its image processor, used as in model cards."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        self._processor: Any = AutoImageProcessor.from_pretrained(checkpoint)
        self._network: Any = AutoModelForImageClassification.from_pretrained(checkpoint).eval()
        self._fake = self._network.config.label2id["FAKE"]

    def normalise(self, images: Sequence[Any]) -> torch.Tensor:
        """Return the model's input for uint8 images [height, width, 3] of its size."""
        mean = torch.tensor(self._processor.image_mean).view(1, 3, 1, 1)
        std = torch.tensor(self._processor.image_std).view(1, 3, 1, 1)
        pixels = torch.stack([torch.from_numpy(image) for image in images]).permute(0, 3, 1, 2)
        factor = float(self._processor.rescale_factor)
        return (pixels.float() * factor - mean) / std

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Return the model's input for one image, float32 [1, 3, height, width]."""
        pixels: torch.Tensor = self._processor(images=image, return_tensors="pt")["pixel_values"]
        return pixels

    def scores(self, pixels: torch.Tensor) -> list[float]:
        """Return the probability of the class FAKE for each image of [n, 3, height, width]."""
        with torch.inference_mode():
            logits = self._network(pixel_values=pixels).logits
        found: list[float] = logits.softmax(dim=-1)[:, self._fake].tolist()
        return found


def input_size(checkpoint: Path) -> tuple[int, int]:
    """Return the height and width of a checkpoint's input."""
    size: Any = AutoImageProcessor.from_pretrained(checkpoint).size
    return size["height"], size["width"]


def open_image(path: str) -> Image.Image | None:
    """Return an upright RGB image, None for a broken file."""
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError):
        return None
