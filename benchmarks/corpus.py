"""Synthetic photographs of the benchmarks: equal bytes for equal seeds."""

import io
import json
import os
import random
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

SOURCES = (
    "astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png",
    "motorcycle_right.png", "hubble_deep_field.jpg", "retina.jpg", "ihc.png", "brick.png",
    "gravel.png", "grass.png",
)  # fmt: skip

BLOCK = 100
"""Images in a block; each block has the same shares of truncated files and duplicates."""

SIZES = (
    (500, 375), (500, 375), (500, 375), (500, 375), (375, 500), (375, 500), (500, 333), (333, 500),
    (500, 500), (640, 480), (400, 300), (320, 240), (800, 600),
)  # fmt: skip
"""Widths and heights in pixels, drawn with equal weight; most of ImageNet's photographs have a
longer side of 500."""

_NOISE_SIDE = 1_400


@dataclass(frozen=True)
class Corpus:
    """Recipe for photographs; `uniform` gives all 500 x 375 pixels and one quality."""

    images: int
    uniform: bool = False
    truncated_percent: int = 1
    duplicate_percent: int = 20
    seed: int = 1

    @property
    def name(self) -> str:
        """Return the folder's name, unique to the recipe."""
        kind = "uniform" if self.uniform else "mixed"
        shares = f"{self.truncated_percent}-{self.duplicate_percent}"
        return f"{kind}-{self.images}-{shares}-seed{self.seed}"

    def duplicate_of(self, index: int) -> int | None:
        """Return the earlier image of the block with the same bytes, None for an original."""
        place = index % BLOCK
        repeated, cut = self._marked(index - place)
        if place not in repeated:
            return None
        whole = [earlier for earlier in range(place) if earlier not in repeated | cut]
        return index - place + random.Random(f"{self.seed} {index} twin").choice(whole)

    def is_truncated(self, index: int) -> bool:
        """Return whether this image's file is truncated."""
        place = index % BLOCK
        return place in self._marked(index - place)[1]

    def jpeg(self, index: int) -> bytes:
        """Return the bytes of one image; deterministic."""
        twin = self.duplicate_of(index)
        written = _photograph(self.seed, index if twin is None else twin, uniform=self.uniform)
        return written[: len(written) * 3 // 5] if self.is_truncated(index) else written

    def _marked(self, first: int) -> tuple[set[int], set[int]]:
        """Return the indices of duplicates and truncated files in a block; never its first."""
        dice = random.Random(f"{self.seed} {first} places")
        places = dice.sample(range(1, BLOCK), self.duplicate_percent + self.truncated_percent)
        return set(places[: self.duplicate_percent]), set(places[self.duplicate_percent :])


def make_corpus(corpus: Corpus, folder: Path) -> Path:
    """Return the corpus' folder below `folder`; make it on all cores if missing."""
    made = folder / corpus.name
    if (made / "corpus.json").exists():
        return made / "images"
    unfinished = folder / f"{corpus.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "images").mkdir(parents=True)
    blocks = range(0, corpus.images, BLOCK)
    write = partial(_write_block, corpus, unfinished / "images")
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(min(cores, len(blocks)), mp_context=get_context("spawn")) as pool:
        size_bytes = sum(pool.map(write, blocks))
    described = {**asdict(corpus), "mean_bytes": size_bytes // max(1, corpus.images)}
    (unfinished / "corpus.json").write_text(json.dumps(described, indent=2) + "\n")
    unfinished.rename(made)
    return made / "images"


def _write_block(corpus: Corpus, folder: Path, first: int) -> int:
    size_bytes = 0
    for index in range(first, min(first + BLOCK, corpus.images)):
        size_bytes += (folder / f"{index:06}.jpg").write_bytes(corpus.jpeg(index))
    return size_bytes


def _photograph(seed: int, index: int, *, uniform: bool) -> bytes:
    """Crop a photograph, scale it, add grain, and encode it as JPEG."""
    dice = random.Random(f"{seed} {index} photograph")
    source = _source(dice.choice(SOURCES))
    width, height = SIZES[0] if uniform else dice.choice(SIZES)
    share = dice.uniform(0.6, 1.0)
    cut_width = int(min(source.width, source.height * width / height) * share)
    cut_height = int(cut_width * height / width)
    left = dice.randint(0, source.width - cut_width)
    top = dice.randint(0, source.height - cut_height)
    piece = source.resize(
        (width, height),
        Image.Resampling.BILINEAR,
        box=(left, top, left + cut_width, top + cut_height),
    )
    x, y = dice.randint(0, _NOISE_SIDE - width), dice.randint(0, _NOISE_SIDE - height)
    grain = _noise()[y : y + height, x : x + width] * (1.0 if uniform else dice.uniform(0.4, 1.6))
    pixels = np.clip(np.asarray(piece) + grain, 0, 255).astype(np.uint8)
    quality = 92 if uniform else dice.choice((75, 85, 90, 92, 95, 96))
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "JPEG", quality=quality)
    return written.getvalue()


@cache
def _source(name: str) -> Image.Image:
    import skimage  # noqa: PLC0415 - only for new photographs

    with Image.open(Path(skimage.__file__).parent / "data" / name) as photograph:
        return photograph.convert("RGB")


@cache
def _noise() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    shape = (_NOISE_SIDE, _NOISE_SIDE, 1)
    return np.random.default_rng(0).normal(0.0, 12.0, shape).astype(np.float32)
