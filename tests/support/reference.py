"""Reference scores of transformers' own pipeline."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from fakesweep.workers.models.place import Place, Precision

FLOAT32_ON_CPU = Place(torch.device("cpu"), Precision.FLOAT32)
"""Place where a model computes the reference's scores."""

BFLOAT16_ON_CPU = Place(torch.device("cpu"), Precision.BFLOAT16)


def reference_scores(folder: Path, contents: Sequence[bytes]) -> list[float]:
    """Return the probability of the class FAKE for each image, in float32 on the CPU."""
    classifier = pipeline(
        "image-classification",
        model=AutoModelForImageClassification.from_pretrained(folder),
        image_processor=AutoImageProcessor.from_pretrained(folder, backend="pil"),
        device="cpu",
    )
    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of palettes with alphas
        for content in contents:
            with Image.open(io.BytesIO(content)) as image:
                answers = classifier(image)
            scores.append({answer["label"]: float(answer["score"]) for answer in answers}["FAKE"])
    return scores
