"""An environment that holds what the base install declares, and nothing else."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def make_base_install(folder: Path) -> Path:
    """Make a virtual environment of the declared requirements alone; return its Python.

    The files are those of the environment the tests run in, linked: nothing is downloaded.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    [site] = folder.glob("lib/python*/site-packages")
    for wanted in _required("fakesweep", frozenset(), set()):
        for installed in _top_level(wanted):
            place = site / installed.name
            if not place.exists():
                place.symlink_to(installed)
    (site / "fakesweep").symlink_to(ROOT / "fakesweep")
    return folder / "bin" / "python"


def _required(
    name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]
) -> Iterator[Distribution]:
    for line in distribution(name).requires or ():
        wanted = Requirement(line)
        environments = [{"extra": extra} for extra in extras or {""}]
        key = (wanted.name.lower(), frozenset(wanted.extras))
        if key in seen or not (
            wanted.marker is None or any(wanted.marker.evaluate(one) for one in environments)
        ):
            continue
        seen.add(key)
        yield distribution(wanted.name)
        yield from _required(wanted.name, frozenset(wanted.extras), seen)


def _top_level(installed: Distribution) -> set[Path]:
    names = {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}
    return {Path(str(installed.locate_file(name))) for name in names}
