"""Checkpoints of the races, from almost no device work to device-bound."""

import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    BeitConfig,
    BeitForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)
from transformers.utils import logging as transformers_logging

from fakesweep import workers

Name = Literal["null", "tiny", "vit-b"]

GFLOP_OF_VIT_B = 35.1
"""Multiplications and additions of ViT-B/16 for one image of 224 x 224 pixels, in 10^9."""

_FOLDERS = {"null": "mean-pixel", "vit-b": "vit-b"}
_SIDE = 224
_PATCH = 32


def make_checkpoint(name: Name, folder: Path) -> Path:
    """Return the folder of a checkpoint in `save_pretrained`'s form; make it if missing.

    `null` is a BEiT without layers: the mean pixel passes a layer norm and a 4 x 2 matrix. `tiny`
    is the bundled `vit-tiny-cifake` (32 pixels). `vit-b` is ViT-B/16 at 224 pixels with random
    weights.
    """
    if name == "tiny":
        return Path(workers.__file__).parent / "checkpoints" / "vit-tiny-cifake"
    made = folder / _FOLDERS[name]
    if not made.is_dir():
        torch.manual_seed(0)
        transformers_logging.disable_progress_bar()
        transformers_logging.set_verbosity_error()
        is_null = name == "null"
        network = _mean_pixel() if is_null else ViTForImageClassification(ViTConfig(**_names()))
        unfinished = folder / f"{name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        network.save_pretrained(unfinished)
        ViTImageProcessorPil(size={"height": _SIDE, "width": _SIDE}).save_pretrained(unfinished)
        unfinished.rename(made)
    return made


def _mean_pixel() -> Any:
    network = BeitForImageClassification(BeitConfig(
        hidden_size=4, intermediate_size=4, num_hidden_layers=0, num_attention_heads=1,
        image_size=_SIDE, patch_size=_PATCH, use_mean_pooling=True, **_names(),
    ))  # fmt: skip
    with torch.no_grad():
        patch = network.beit.embeddings.patch_embeddings.projection
        patch.weight.zero_()
        patch.bias.zero_()
        for channel in range(3):
            patch.weight[channel, channel] = 1.0 / _PATCH**2
    return network


def _names() -> dict[str, Any]:
    return {"id2label": {0: "REAL", 1: "FAKE"}, "label2id": {"REAL": 0, "FAKE": 1}}
