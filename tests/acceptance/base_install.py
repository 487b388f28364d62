"""Virtual environments with the base install's requirements, or named distributions, alone."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def make_base_install(folder: Path) -> Path:
    """Make a virtual environment of the declared requirements alone; return its Python."""
    python = make_environment(folder, required("fakesweep"))
    (site_of(folder) / "fakesweep").symlink_to(ROOT / "fakesweep")
    return python


def make_environment(folder: Path, distributions: Iterable[Distribution]) -> Path:
    """Make a virtual environment of these alone, and return its Python.

    The files are those of the environment the tests run in, linked: nothing is downloaded.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = site_of(folder)
    for each in distributions:
        for installed in _top_level(each):
            place = site / installed.name
            if not place.exists():
                place.symlink_to(installed)
    return folder / "bin" / "python"


def site_of(folder: Path) -> Path:
    """Return an environment's site-packages."""
    [site] = folder.glob("lib/python*/site-packages")
    return site


def required(name: str) -> Iterator[Distribution]:
    """Yield an installed distribution's requirements, recursively, without extras."""
    yield from _required(name, frozenset(), set())


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
