"""Small checkpoints in transformers' form, whose random weights tell images apart."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from transformers import (
    BitImageProcessorPil,
    ConvNextConfig,
    ConvNextForImageClassification,
    ConvNextImageProcessorPil,
    Dinov2Config,
    Dinov2ForImageClassification,
    SiglipConfig,
    SiglipForImageClassification,
    SiglipImageProcessorPil,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)
from transformers.utils import logging as transformers_logging

Architecture = Literal["vit", "siglip", "swin", "convnext", "dinov2"]

_SQUARE: dict[str, Any] = {
    "size": {"height": 32, "width": 32},
    "image_mean": [0.5, 0.4, 0.6],
    "image_std": [0.5, 0.3, 0.25],
}
_TRANSFORMER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "image_size": 32,
    "patch_size": 8,
    "initializer_range": 0.2,
}


def save_checkpoint(
    folder: Path,
    architecture: Architecture = "vit",
    labels: tuple[str, ...] = ("REAL", "FAKE"),
    *,
    processor: Any = None,
    is_pickled: bool = False,
    **config: Any,
) -> Path:
    """Save a classifier of 32 x 32 pixels with its processor; return the folder.

    The weights are deterministic; the scores of different images spread over [0, 1]. `config`
    extends the model's configuration, `processor` replaces the default one.
    """
    torch.manual_seed(0)
    transformers_logging.disable_progress_bar()
    config["id2label"] = dict(enumerate(labels))
    config["label2id"] = {name: index for index, name in enumerate(labels)}
    network, usual = _build(architecture, config)
    processor = processor or usual
    _spread_scores(network, processor)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    if is_pickled:
        (folder / "model.safetensors").unlink()
        torch.save(network.state_dict(), folder / "pytorch_model.bin")
    return folder


def coloured_noise(count: int, width: int = 40, height: int = 40) -> list[Image.Image]:
    """Return images that differ in colour, brightness and grain."""
    random = np.random.default_rng(1)
    return [
        Image.fromarray(
            (random.integers(0, 256, 3) * random.random((height, width, 1)) ** (index % 4))
            .clip(0, 255)
            .astype(np.uint8)
        )
        for index in range(count)
    ]


def _build(architecture: Architecture, config: dict[str, Any]) -> tuple[Any, Any]:
    match architecture:
        case "vit":
            return (
                ViTForImageClassification(ViTConfig(**_TRANSFORMER, **config)),
                ViTImageProcessorPil(**_SQUARE),
            )
        case "siglip":
            return (
                SiglipForImageClassification(SiglipConfig(vision_config=_TRANSFORMER, **config)),
                SiglipImageProcessorPil(**_SQUARE),
            )
        case "swin":
            small = {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4}
            small |= {"image_size": 32, "patch_size": 4, "initializer_range": 0.2}
            return (
                SwinForImageClassification(SwinConfig(**small, **config)),
                ViTImageProcessorPil(**_SQUARE, resample=3),
            )
        case "convnext":
            small = {"hidden_sizes": [16, 32], "depths": [1, 1], "initializer_range": 0.2}
            return (
                ConvNextForImageClassification(ConvNextConfig(num_stages=2, **small, **config)),
                ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.875),
            )
        case "dinov2":
            return (
                Dinov2ForImageClassification(Dinov2Config(**_TRANSFORMER, **config)),
                BitImageProcessorPil(size={"shortest_edge": 40}, crop_size=32),
            )


def _spread_scores(network: Any, processor: Any) -> None:
    """Scale the last layer so that images' logits differ by some units."""
    network.eval()
    with torch.no_grad():
        inputs = processor(images=coloured_noise(24), return_tensors="pt")
        logits = network(**inputs).logits
        scale = 2.0 / logits.std(dim=0)
        head = network.classifier
        head.weight.mul_(scale.unsqueeze(1))
        head.bias.copy_((head.bias - logits.mean(dim=0)) * scale)
