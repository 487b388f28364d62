"""State of a GPU benchmark run: its options and results, written after each step."""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_decode import SIDE, make_pictures
from benchmarks.gpu_models import SHAPES, make_checkpoint
from benchmarks.gpu_rows import Measured
from benchmarks.machine import cores
from fakesweep.schema.settings import Settings
from fakesweep.workers.models.place import Place

LARGE_MODEL_SIDE = 400
"""Image side above which a model's sweep has half as many images."""


@dataclass
class Bench:
    """Options, results and files of a run."""

    asked: argparse.Namespace
    folder: Path
    place: Place
    settings: Settings
    machine: dict[str, Any] = field(default_factory=dict)
    rows: list[Measured] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    matrix: tuple[float, ...] = ()
    started: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Print progress with the seconds since the start."""
        print(f"[{time.monotonic() - self.started:6.1f} s] {text}", flush=True)

    def add(self, row: Measured) -> None:
        """Add a result."""
        self.rows.append(row)
        share = "" if row.share is None else f", {row.share:.0%} of {row.wall_name}"
        facts = "".join(f", {name} {fact}" for name, fact in row.facts.items())
        self.say(
            f"{row.model} {row.part} {row.way}: {row.images_per_second:,.1f} images/s{share}{facts}"
        )
        self.write()

    def write(self) -> None:
        """Write all results as JSON on request."""
        if self.asked.json:
            self.asked.json.parent.mkdir(parents=True, exist_ok=True)
            self.asked.json.write_text(json.dumps(self.to_json(), indent=2) + "\n")

    def to_json(self) -> dict[str, Any]:
        """Return all results as plain JSON values."""
        return {
            "machine": self.machine,
            "seconds": round(time.monotonic() - self.started, 1),
            "matrix_tflops": list(self.matrix),
            "gflop": {name: SHAPES[name].gflop for name in self.asked.models},
            "measured": [row.to_json() for row in self.rows],
            "left_out": self.left_out,
        }

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Report a part's failure and go on with the others."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - earlier results are kept
            self.leave_out(f"{what}: {type(error).__name__}: {error}")

    def leave_out(self, why: str) -> None:
        """Record a skipped measurement and its reason."""
        self.left_out.append(why)
        self.say(f"left out: {why}")
        self.write()

    def wants(self, part: str, what: str, minutes: float = 0.0) -> bool:
        """Return whether a part was requested and has at least `minutes` left."""
        if part not in self.asked.only:
            return False
        if time.monotonic() - self.started < 60 * (self.asked.minutes - minutes):
            return True
        self.leave_out(f"{what}: too late within {self.asked.minutes:g} minutes (--minutes)")
        return False

    def rate(self, model: str, part: str, way: str = "") -> float | None:
        """Return the first known rate of a model's part, in a mode that starts with `way`."""
        asked = (model, part)
        found = (
            one for one in self.rows if (one.model, one.part) == asked and one.way.startswith(way)
        )
        row = next(found, None)
        return None if row is None else row.images_per_second

    def checkpoint(self, model: str) -> Path:
        """Return the folder of a model's checkpoint."""
        return make_checkpoint(model, self.folder / "checkpoints")

    def pictures(self, images: int, side: int = SIDE) -> list[Path]:
        """Return the paths of `images` JPEGs."""
        return make_pictures(self.folder / f"pictures-{side}", images, cores(), side)

    def sweep_images(self, model: str) -> int:
        """Return the number of images in a model's sweep."""
        is_large = SHAPES[model].side > LARGE_MODEL_SIDE
        return max(1, int(self.asked.images) // 2) if is_large else int(self.asked.images)


def describe(place: Place) -> dict[str, Any]:
    """Return a description of the machine."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    found: dict[str, Any] = {"device": str(place.device), "precision": place.precision.value}
    if place.device.type == "cuda":
        facts = torch.cuda.get_device_properties(place.device)
        found["gpu"] = facts.name
        found["gpu_memory_gib"] = round(facts.total_memory / 2**30, 1)
        found["cuda"] = torch.version.cuda
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return found | {
        "cpu": cpu[0].partition(":")[2].strip() if cpu else platform.processor(),
        "cores": cores(),
        "memory_gib": round(memory / 2**30, 1),
        "python": platform.python_version(),
        "versions": {
            name: version(name) for name in ("torch", "transformers", "numpy", "pillow")
        },
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }  # fmt: skip
