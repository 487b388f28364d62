"""Small generated images for scans."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def photograph(seed: int, size: tuple[int, int] = (48, 40), file_format: str = "JPEG") -> bytes:
    """Return an image of smooth colours and noise, unique to the seed."""
    width, height = size
    random = np.random.default_rng(seed)
    slopes = random.uniform(-2, 2, (2, 3))
    y, x = np.mgrid[0:height, 0:width]
    smooth = x[..., None] * slopes[0] + y[..., None] * slopes[1] + random.uniform(60, 190, 3)
    pixels = np.clip(smooth + random.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, file_format)
    return written.getvalue()


def folder_of_photographs(folder: Path, count: int) -> Path:
    """Write `count` different JPEGs into a folder; make it if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        (folder / f"{seed:04}.jpg").write_bytes(photograph(seed))
    return folder
