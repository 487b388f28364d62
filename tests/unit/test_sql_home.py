"""SQL lives in the schema alone, beside the functions that run it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import fakesweep

ROOMS = [path for path in Path(fakesweep.__path__[0]).iterdir() if path.is_dir()]
HOME = "schema"


def _files() -> Iterator[Path]:
    yield from Path(fakesweep.__path__[0]).glob("*.py")
    for room in ROOMS:
        if room.name != HOME:
            yield from room.resolve().rglob("*.py")


def _runs_sql(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "sqlalchemy":
            yield from (one.name for one in node.names if one.name in ("text", "select", "func"))
        elif isinstance(node, ast.Attribute) and node.attr == "exec_driver_sql":
            yield node.attr


def test_no_statement_is_written_outside_the_schema() -> None:
    files = list(_files())
    assert len(files) > 100
    found = {str(path): list(_runs_sql(path)) for path in files}
    assert {path: names for path, names in found.items() if names} == {}
