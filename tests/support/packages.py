"""Wheels and source distributions: ours, built by hatchling, and a wheel named `schema`."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ROOMS = sorted(path.name for path in (ROOT / "fakesweep").iterdir() if path.is_symlink())
"""Top-level folders that the package's links point to."""
OWN_MODULES = """
import producer, schema, workers
assert (producer.OWN, schema.OWN, workers.OWN) == (True, True, True)
"""
UNSHIPPED = {"fakesweep/schema/ledger/current.sql"}
"""Files of the repository that the wheel omits."""


class Built(NamedTuple):
    """Paths of a built wheel and source distribution."""

    wheel: Path
    sdist: Path


def build(source: Path, folder: Path) -> Built:
    """Build both from a tree, by the installed hatchling."""
    for target in ("sdist", "wheel"):
        build_target(source, folder, target)
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Built(wheel, sdist)


def build_target(source: Path, folder: Path, target: str) -> None:
    """Build the wheel or the source distribution of a tree."""
    words = [sys.executable, "-m", "hatchling", "build", "--target", target]
    subprocess.run(
        [*words, "--directory", str(folder)], cwd=source, check=True, capture_output=True
    )


def unpacked(sdist: Path, folder: Path) -> Path:
    """Unpack a source distribution; return its tree."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    [tree] = folder.iterdir()
    return tree


def product_files() -> set[str]:
    """Return the paths of the product's files in the wheel."""
    places = {"fakesweep": ROOT / "fakesweep"}
    places |= {f"fakesweep/{room}": ROOT / room for room in ROOMS}
    return {
        f"{name}/{path.relative_to(folder)}"
        for name, folder in places.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def make_schema_wheel(folder: Path) -> Path:
    """Make a wheel of a top-level package `schema`, like the library of that name."""
    about = "schema-0.7.8.dist-info"
    files = {
        "schema/__init__.py": "class Schema:\n    pass\n",
        "schema/py.typed": "",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: schema\nVersion: 0.7.8\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{about}/RECORD"))
    wheel = folder / "schema-0.7.8-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return wheel


def pip(python: Path, *words: str, cwd: Path | None = None) -> None:
    """Run pip offline on an environment, which may lack pip."""
    called = [sys.executable, "-m", "pip", "--python", str(python), "--quiet"]
    done = subprocess.run(
        [*called, "--disable-pip-version-check", "--no-input", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def install(python: Path, *wheels: Path) -> None:
    """Install wheels without their dependencies."""
    pip(python, "install", "--no-deps", "--no-index", "--no-compile", *map(str, wheels))


def make_application(folder: Path, program: str) -> Path:
    """Make a program whose own modules are named like our rooms."""
    folder.mkdir()
    for name in ("workers.py", "producer/__init__.py", "schema/__init__.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("OWN = True\n")
    (folder / "program.py").write_text(f"{OWN_MODULES}{program}")
    return folder / "program.py"


def make_tree(folder: Path) -> Path:
    """Copy the repository's files that a build reads; links stay links."""
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for name in ("fakesweep", *ROOMS):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    return folder
