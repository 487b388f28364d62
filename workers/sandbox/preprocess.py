"""Preprocessing of a model's input, as plain values without transformers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fakesweep.schema.failures import ModelFailed

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

MAX_RESIZED_PIXELS = 2**26
"""Limit of a resized image; the shortest-edge rule makes a strip of 1 x 100,000 pixels enormous."""

_FAST_TIMES = 2
_WHITE = (255, 255, 255, 255)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Resize, crop, rescale and normalise, as in a checkpoint's configuration.

    `size` and `crop` are (height, width). At most one of `size` and `shortest_edge` is set;
    without either the image keeps its size. `resample` is Pillow's filter number. The steps run
    in the order of the fields.
    """

    transparency_on_white: bool
    size: tuple[int, int] | None
    shortest_edge: int | None
    resample: int
    crop: tuple[int, int] | None
    rescale_factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def prepare(self, image: Image.Image) -> Pixels:
        """Return the resized and cropped pixels of an RGB image, [height, width, 3].

        Raises:
            ModelFailed: the resized image of a long, thin strip would not fit in memory.
        """
        if self.transparency_on_white and image.info.get("transparency") is not None:
            background = Image.new("RGBA", image.size, _WHITE)
            image = Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")
        height_width = self._resized(image)
        if height_width is not None:
            height, width = height_width
            if height * width > MAX_RESIZED_PIXELS:
                raise ModelFailed(
                    f"the model resizes the shortest edge, which makes {width} x {height} pixels "
                    f"of an image of {image.width} x {image.height}"
                )
            image = image.resize((width, height), Image.Resampling(self.resample))
        if self.crop is not None:
            image = _cropped(image, *self.crop)
        return np.asarray(image)

    @property
    def needed_side(self) -> int | None:
        """Pixels that each side needs for `fast` decoding; None for all."""
        if self.size is not None:
            return _FAST_TIMES * max(self.size)
        return self.shortest_edge and _FAST_TIMES * self.shortest_edge

    def normalised(self, pixels: Pixels) -> Floats:
        """Return the model's input, float32 [3, height, width], computed as transformers does."""
        rescaled = (pixels.astype(np.float64) * self.rescale_factor).astype(np.float32)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return np.moveaxis((rescaled - mean) / std, -1, 0)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Preprocessing":
        """Rebuild the steps from the JSON of `dataclasses.asdict`."""
        made: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return cls(**made)

    def described(self) -> dict[str, Any]:
        """Return the steps as JSON."""
        return {
            "transparency": "white" if self.transparency_on_white else "dropped",
            "size": self.size,
            "shortest_edge": self.shortest_edge,
            "resample": Image.Resampling(self.resample).name.lower(),
            "crop": self.crop,
            "rescale_factor": self.rescale_factor,
            "mean": self.mean,
            "std": self.std,
        }

    def _resized(self, image: Image.Image) -> tuple[int, int] | None:
        if self.shortest_edge is None:
            return self.size
        short, long = sorted(image.size)
        stretched = int(self.shortest_edge * long / short)
        if image.width <= image.height:
            return stretched, self.shortest_edge
        return self.shortest_edge, stretched


def _cropped(image: Image.Image, height: int, width: int) -> Image.Image:
    """Crop the centre; a smaller image is padded with black."""
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
