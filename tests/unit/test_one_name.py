"""Each module has one name: every tool sees a file once, and nothing says a name of before."""

import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

from tests.support.packages import ROOMS, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
TEXTS = ("*.py", "*.md", "*.toml", "*.yml", "*.ipynb", "*.Dockerfile", "Makefile", "run")
FOLDERS = (".ci", "benchmarks", "docs", "fakesweep", "infra", "tests", *ROOMS)

OTHERS = {
    "tests/support/packages.py": ["import producer, schema, workers"],
    "tests/acceptance/test_packaging.py": ["from schema import"],
}
"""Where a test plays a program or library whose modules are named like our rooms."""

ROOM = rf"(?:{'|'.join(ROOMS)})"
BARE = re.compile(
    rf"""
      (?:^|[;"'`(]|\\n) \s* import \s+ (?:[\w.]+(?:\ as\ \w+)?,\ *)* {ROOM}\b
    | (?:^|[;"'`(]|\\n) \s* from \s+ {ROOM} (?:\.\w+)* \s+ import\b
    | (?<![\w-]) -[mA] ["',]* \s* ["']? {ROOM} (?=[\s."'`]|$)
    """,
    re.VERBOSE | re.MULTILINE,
)
QUOTED = re.compile(rf"""["'`]({ROOM}(?:[.:]\w+)+)[:"'`]""")


def names_of_before(text: str) -> Iterator[str]:
    """Yield what imports or names a module of a room without saying whose room it is."""
    yield from (found[0].strip("\n ;\"'`(") for found in BARE.finditer(text))
    for name in QUOTED.findall(text):
        place = ROOT.joinpath(*re.split("[.:]", name))
        if any(
            one.exists()
            for one in (place, place.with_suffix(".py"), place.parent.with_suffix(".py"))
        ):
            yield name


def test_every_package_at_the_top_is_a_room_linked_from_the_package() -> None:
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")}
    assert packages - {"benchmarks", "fakesweep", "tests"} == {*ROOMS}
    assert {(ROOT / "fakesweep" / room).readlink() for room in ROOMS} == {
        Path("..") / room for room in ROOMS
    }


def test_ruff_and_mypy_know_the_rooms_by_one_name() -> None:
    assert {*PROJECT["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]} == {*ROOMS}
    excluded = re.compile(PROJECT["mypy"]["exclude"][0])
    assert all(excluded.match(f"{room}/") for room in ROOMS)
    assert not excluded.match("fakesweep/")


def sources() -> set[Path]:
    """Return the Python files of the package, by the names that are imported."""
    found = {*(ROOT / "fakesweep").rglob("*.py")}
    for room in ROOMS:
        found |= {*(ROOT / "fakesweep" / room).rglob("*.py")}
    return found


def test_no_file_says_a_name_of_before() -> None:
    texts = {path for folder in FOLDERS for kind in TEXTS for path in (ROOT / folder).rglob(kind)}
    texts |= {path for kind in TEXTS for path in ROOT.glob(kind)}
    said = {
        str(path.relative_to(ROOT)): found
        for path in sorted(texts - {Path(__file__)})
        if (found := [*names_of_before(path.read_text("utf-8"))])
    }
    assert said == OTHERS


@pytest.mark.parametrize(
    "text",
    [
        "import schema.words",
        "    from workers import pipeline",
        "import os, producer",
        'code = "import sys, workers.loader; sys.exit()"',
        """run("-c", "import os\\nfrom schema.words import Lane")""",
        "python -m producer.celery_command",
        '[sys.executable, "-m", "workers"]',
        "celery -A workers.app worker",
        'import_module("schema.words")',
        'set_main_option("script_location", "schema:migrations")',
        'monkeypatch.setattr("schema.words.Lane", None)',
        "`producer.submit` is `producer.service`",
    ],
)
def test_a_name_of_before_is_found(text: str) -> None:
    assert [*names_of_before(text)]


@pytest.mark.parametrize(
    "text",
    [
        "import fakesweep.schema.words",
        "from fakesweep import schema",
        "from fakesweep.commands.producer import producer",
        "celery -A fakesweep.workers.app worker",
        'log = tmp_path / "producer.log"',
        "with producer.engine.begin() as connection:",
        "`python -m fakesweep producer`",
    ],
)
def test_what_is_no_name_of_before_is_let_be(text: str) -> None:
    assert [*names_of_before(text)] == []


def test_the_graph_of_imports_has_each_file_under_one_name() -> None:
    graph = grimp.build_graph("fakesweep", cache_dir=None)
    wanted = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sources()
    }
    assert graph.modules == wanted


def test_ruff_looks_at_each_file_once() -> None:
    ruff = str(Path(sys.executable).with_name("ruff"))
    words = [ruff, "check", "--show-files", "--no-cache"]
    shown = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    seen = Counter(Path(line).resolve() for line in shown.splitlines())
    assert max(seen.values()) == 1
    assert {path.resolve() for path in sources()} <= {*seen}
