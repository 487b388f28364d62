"""The contracts of imports in pyproject.toml, against a breach file for each thing they forbid."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.packages import ROOMS, ROOT

PRODUCT = "fakesweep"
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
    "contracts"
]


class Breach(NamedTuple):
    """A module that imports what it may not."""

    place: str
    imported: str

    @property
    def module(self) -> str:
        """Return the breach's name: one for each import, so that none hides another."""
        return f"{self.place}.breach_{self.imported.replace('.', '_')}"


PLANTED_ANYHOW = {
    Breach("fakesweep.schema", "fakesweep.producer"),
    Breach("fakesweep.schema", "fakesweep.workers"),
    Breach("fakesweep.schema", "fakesweep.breach"),
    Breach("fakesweep.schema", "fakesweep"),
    Breach("fakesweep.producer", "fakesweep.workers"),
    Breach("fakesweep.workers", "fakesweep.producer"),
    Breach("fakesweep.schema", "celery"),
    Breach("fakesweep.producer", "torch"),
    Breach("fakesweep.workers", "torch"),
    Breach("fakesweep.producer", "PIL"),
    Breach("fakesweep", "PIL"),
    Breach("fakesweep.producer", "celery"),
    Breach("fakesweep.workers", "celery"),
}
"""What must be forbidden, whichever contracts say so."""

CIRCLE = ("breach_end", "breach_beginning")


def forbidden(contract: dict[str, Any]) -> Iterator[Breach]:
    """Yield a breach for each thing that a contract forbids."""
    match contract["type"]:
        case "rooms":
            yield from _up_or_across([floor.split("|") for floor in contract["floors"]])
        case "homes":
            for place in (PRODUCT, *(f"{PRODUCT}.{room}" for room in ROOMS)):
                if place not in contract["homes"]:
                    yield from (Breach(place, library) for library in contract["libraries"])
        case "forbidden":
            for place in contract["source_modules"]:
                yield from (Breach(place, library) for library in contract["forbidden_modules"])


def _up_or_across(floors: list[list[str]]) -> Iterator[Breach]:
    above = [PRODUCT, f"{PRODUCT}.breach"]
    for floor in floors:
        rooms = [f"{PRODUCT}.{room.strip()}" for room in floor if room.strip() in ROOMS]
        for here in rooms:
            yield from (Breach(here, there) for there in (*above, *rooms) if there != here)
        above += rooms


BREACHES = sorted({*PLANTED_ANYHOW, *(one for each in CONTRACTS for one in forbidden(each))})


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources with their links, and what checks their imports."""
    folder = tmp_path_factory.mktemp("tree")
    for name in (PRODUCT, *ROOMS, "tests/support"):
        shutil.copytree(
            ROOT / name,
            folder / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("*.pyc", "*.safetensors"),
        )
    (folder / "tests" / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def checked(tree: Path) -> tuple[int, str]:
    """Return how import-linter ends in a tree, and what it says."""
    linter = str(Path(sys.executable).with_name("lint-imports"))
    done = subprocess.run(
        [linter, "--no-cache"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "300"},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def said_of_breaches(tree: Path) -> str:
    """What import-linter says of a tree with all breaches, having found nothing before."""
    assert checked(tree)[0] == 0
    (tree / PRODUCT / "breach.py").touch()
    for one, other in (CIRCLE, CIRCLE[::-1]):
        (tree / "schema" / f"{one}.py").write_text(f"import fakesweep.schema.{other}\n")
    for breach in BREACHES:
        file = tree.joinpath(*breach.module.split(".")).with_suffix(".py")
        file.write_text(f"import {breach.imported}\n")
    status, said = checked(tree)
    assert status == 1
    return said


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: f"{breach.place} {breach.imported}")
def test_a_breach_file_is_named(said_of_breaches: str, breach: Breach) -> None:
    named = f"{breach.module} may not import {breach.imported}"
    in_a_chain = f"{breach.module} -> {breach.imported} (l.1)"
    lines = {line.strip(" -") for line in said_of_breaches.splitlines()}
    assert lines & {named, in_a_chain}, said_of_breaches


def test_a_circle_is_named(said_of_breaches: str) -> None:
    assert "No cycles are allowed in fakesweep.schema." in said_of_breaches
    assert any(all(name in line for name in CIRCLE) for line in said_of_breaches.splitlines())


def test_there_is_a_breach_for_every_kind_of_contract() -> None:
    kinds = {each["type"] for each in CONTRACTS if [*forbidden(each)]}
    assert kinds | {"acyclic_siblings"} == {each["type"] for each in CONTRACTS}
