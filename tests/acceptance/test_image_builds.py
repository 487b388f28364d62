"""Steps of the container images, run in a folder without the base image and the network."""

import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.acceptance.base_install import make_environment, required, site_of
from tests.support.packages import ROOT, UNSHIPPED, make_tree, pip, product_files
from tests.support.servers import missing

DOCKERFILES = sorted((ROOT / "infra").glob("*.Dockerfile"))

PIP = """#!/bin/sh
case "$*" in *--require-hashes*) exit 0;; esac
exec {ours} -m pip --python {theirs} --quiet --disable-pip-version-check "$@" \\
    --no-deps --no-index --no-compile
"""
"""A substitute for pip that skips downloads."""


def able_to_build(folder: Path, *tools: str) -> Path:
    """Make an environment with these tools alone; return its Python."""
    return make_environment(
        folder, (one for tool in tools for one in (distribution(tool), *required(tool)))
    )


def installed(environment: Path) -> set[str]:
    """Return the product's files in an environment's site-packages."""
    site = site_of(environment.parents[1])
    files = (path.relative_to(site) for path in (site / "fakesweep").rglob("*") if path.is_file())
    return {str(file) for file in files if "__pycache__" not in file.parts}


def imported_from(environment: Path, module: str) -> Path:
    words = [str(environment), "-P", "-c", f"import {module} as it; print(it.__file__)"]
    return Path(subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip())


def let_in(folder: Path) -> None:
    """Make a build context: the files that .dockerignore admits, links as links."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    for name in (line[1:] for line in lines if line.startswith("!")):
        copy_in(ROOT / name, folder / name)


def copy_in(source: Path, target: Path) -> None:
    """Copy a folder's content as COPY does, links as links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=ignored)
    else:
        shutil.copy(source, target)


def go_through(dockerfile: Path, context: Path, folder: Path, path: str) -> None:
    """Run every COPY, and every RUN that calls pip."""
    for word, said in re.findall(
        r"^(COPY|RUN) ((?:.*\\\n)*.*)", dockerfile.read_text("utf-8"), re.MULTILINE
    ):
        if word == "COPY":
            *sources, target = said.split()
            is_folder = target.endswith("/")
            for source in sources:
                place = folder / target / Path(source).name if is_folder else folder / target
                copy_in(context / source, place)
        elif said.startswith("pip "):
            subprocess.run(["sh", "-ec", said], cwd=folder, env={"PATH": path}, check=True)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: str(path.name))
def test_the_steps_of_an_image_install_each_file_once(dockerfile: Path, tmp_path: Path) -> None:
    environment = able_to_build(tmp_path / "venv", "hatchling")
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "pip"
    shim.write_text(
        PIP.format(ours=shlex.quote(sys.executable), theirs=shlex.quote(str(environment)))
    )
    shim.chmod(0o755)
    let_in(tmp_path / "context")
    source = tmp_path / "source"
    source.mkdir()
    go_through(dockerfile, tmp_path / "context", source, f"{shim.parent}:/usr/bin:/bin")
    assert installed(environment) == product_files() - UNSHIPPED
    assert imported_from(environment, "fakesweep.schema.words").is_relative_to(
        environment.parents[1]
    )


def test_an_editable_installation_finds_the_rooms_through_the_links(tmp_path: Path) -> None:
    if find_spec("editables") is None:
        missing("the wheel editables")
    environment = able_to_build(tmp_path / "venv", "hatchling", "editables")
    tree = make_tree(tmp_path / "tree")
    pip(environment, "install", "--no-deps", "--no-index", "--no-build-isolation",
        "--editable", str(tree))  # fmt: skip
    assert (
        imported_from(environment, "fakesweep.schema.words") == tree / "fakesweep/schema/words.py"
    )
