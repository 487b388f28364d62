"""Description of the benchmark's machine."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]

_TELLING_FLAGS = {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}


def cores() -> int:
    """Return the number of cores available to this process."""
    return len(os.sched_getaffinity(0))


def describe() -> dict[str, Any]:
    """Return the machine's hardware, software and current load."""
    cpu: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        cpu.setdefault(name.strip(), value.strip())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    packages = ("torch", "transformers", "pillow", "numpy", "celery")
    return {
        "cpu": cpu.get("model name", platform.processor()),
        "cpu_features": sorted(_TELLING_FLAGS & set(cpu.get("flags", "").split())),
        "cores": cores(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
