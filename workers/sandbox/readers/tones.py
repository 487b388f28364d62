"""Tone scaling: pictures of more than 8 bits, and of floats, become 8 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Samples = NDArray[Any]
Bytes = NDArray[np.uint8]

WIDE_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
"""Pillow's wide one-channel modes, which its conversion clips at 255."""

_BLOCK_SAMPLES = 2**20
_LARGEST_BYTE = 255.0


def is_wide(image: Image.Image) -> bool:
    """Return whether Pillow's conversion to 8 bits would clip an image."""
    return image.mode in WIDE_MODES


def grey_of(image: Image.Image, *, is_inverted: bool = False) -> Image.Image:
    """Return a wide image in mode "L", scaled to 8 bits by its own range."""
    samples = np.asarray(image)
    return Image.fromarray(by_own_range(samples, is_inverted=is_inverted))


def by_own_range(samples: Samples, *, is_inverted: bool = False) -> Bytes:
    """Return samples as bytes, the minimum as 0 and the maximum as 255.

    NaN becomes black. A picture of one value is scaled by the range of its integer type, or by 0
    to 1 for floats.
    """
    flat = np.ascontiguousarray(samples).reshape(-1)
    low, high = _range(flat)
    if low == high:
        low, high = _range_of_type(samples.dtype)
    result = np.empty(flat.shape, np.uint8)
    for start in range(0, len(flat), _BLOCK_SAMPLES):
        block = flat[start : start + _BLOCK_SAMPLES].astype(np.float64)
        with np.errstate(all="ignore"):
            scaled = (block - low) / (high - low) * _LARGEST_BYTE
        scaled = np.nan_to_num(scaled, nan=0.0, posinf=_LARGEST_BYTE, neginf=0.0)
        result[start : start + _BLOCK_SAMPLES] = scaled.round().clip(0, _LARGEST_BYTE)
    if is_inverted:
        np.invert(result, out=result)
    return result.reshape(samples.shape)


def by_bits(samples: Samples, bits: int) -> Bytes:
    """Return integers of `bits` bits as bytes: 0 stays 0, the maximum becomes 255."""
    if bits > 8:  # noqa: PLR2004 - as Pillow does with colours of 16 bits
        wide: Bytes = np.right_shift(samples, bits - 8).astype(np.uint8)
        return wide
    greatest = 2**bits - 1
    spread: Bytes = np.floor_divide(samples.astype(np.uint16) * 255, greatest).astype(np.uint8)
    return spread


def _range(flat: Samples) -> tuple[float, float]:
    """Return the smallest and the largest finite value."""
    low, high = np.inf, -np.inf
    for start in range(0, len(flat), _BLOCK_SAMPLES):
        block = flat[start : start + _BLOCK_SAMPLES]
        if block.dtype.kind == "f":
            block = block[np.isfinite(block)]
        if block.size:
            low, high = min(low, float(block.min())), max(high, float(block.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _range_of_type(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind not in "iu":
        return 0.0, 1.0
    bits = 8 * dtype.itemsize
    return (0.0, 2.0**bits - 1) if dtype.kind == "u" else (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1))
