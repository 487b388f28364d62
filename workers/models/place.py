"""Device and precision of a model, chosen by the hardware."""

from dataclasses import dataclass
from enum import StrEnum

import torch

from fakesweep.schema.errors import ModelError


class Precision(StrEnum):
    """Number type of a model's arithmetic; scores are always float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"

    @property
    def dtype(self) -> torch.dtype:
        """Torch's type."""
        return torch.float32 if self is Precision.FLOAT32 else torch.bfloat16


@dataclass(frozen=True, slots=True)
class Place:
    """A device (`cpu` or `cuda:N`) and its models' precision."""

    device: torch.device
    precision: Precision


def resolve_place(device: str, precision: str = "auto") -> Place:
    """Return the place for a device (auto, cpu, cuda, cuda:N) and a precision (auto, or its name).

    Raises:
        ModelError: the CUDA device does not exist.
    """
    found = torch.device(resolve_device(device))
    if precision != "auto":
        return Place(found, Precision(precision))
    is_fast = _multiplies_bfloat16(found)
    return Place(found, Precision.BFLOAT16 if is_fast else Precision.FLOAT32)


def resolve_device(wanted: str) -> str:
    """Return `cpu` or `cuda:N` for auto, cpu, cuda or cuda:N.

    Raises:
        ModelError: the CUDA device does not exist.
    """
    if wanted == "cpu":
        return "cpu"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return "cuda:0" if count else "cpu"
    index = int(wanted.partition(":")[2] or 0)
    if index >= count:
        raise ModelError(
            f"device {wanted!r} is not there: torch {torch.__version__} sees {count} CUDA "
            f"devices; set FAKESWEEP_DEVICE (or --device) to auto or cpu, or mend the driver"
        )
    return f"cuda:{index}"


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the hardware multiplies bfloat16 natively."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
