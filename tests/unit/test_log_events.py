"""Every event in the log has a name of its own, that never holds a fact."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schema", "serving", "producer", "workers", "fakesweep")
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
NAME = re.compile(r"[a-z]+(_[a-z]+)*")


def names_in(tree: ast.AST) -> Iterator[tuple[int, list[str] | None]]:
    """Yield for each line that logs the names it may log, None where they are not literal."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=arguments
            ) if level in LEVELS:
                yield node.lineno, _literals(arguments[0]) if len(arguments) == 1 else None


def _literals(node: ast.expr) -> list[str] | None:
    match node:
        case ast.Constant(value=str() as name):
            return [name]
        case ast.IfExp(body=body, orelse=other):
            either, rather = _literals(body), _literals(other)
            return either + rather if either and rather else None
    return None


def test_every_event_has_a_static_name_in_snake_case() -> None:
    found = [
        (f"{file.relative_to(ROOT)}:{line}", names)
        for package in PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
        for line, names in names_in(ast.parse(file.read_text("utf-8")))
    ]
    assert len(found) > 20
    wrong = [
        place
        for place, names in found
        if not names or not all(NAME.fullmatch(name) for name in names)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "line",
    ['log.info(f"batch_{number}")', "log.info(name)", 'log.info("%s stored", 5)', "log.info()"],
)
def test_a_name_that_is_made_up_of_facts_is_found_out(line: str) -> None:
    [(_, names)] = names_in(ast.parse(line))
    assert names is None
