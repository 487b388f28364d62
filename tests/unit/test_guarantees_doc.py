"""docs/guarantees.md is true: every promise names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

from fakesweep.schema.failures import FailureCode

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", DOCUMENT)))
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in DOCUMENT.partition("## What chaos said")[0].splitlines()
    if line.startswith("|") and not re.match(r"^\|[\s|:-]+\|$", line)
]


def names_in(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_named_test_exists(path: str, name: str) -> None:
    assert name in names_in(ROOT / path)


@pytest.mark.parametrize("code", FailureCode)
def test_every_failure_code_has_one_row_that_names_its_test(code: FailureCode) -> None:
    [row] = [row for row in ROWS if row[0] == f"`{code.value}`"]
    assert all(row)
    assert re.search(r"`tests/[\w/]+\.py::test_\w+`", row[-1])


def test_every_row_of_a_promise_names_a_test() -> None:
    promises = [row for row in ROWS if len(row) == 4 and row[0] != "event"]
    assert len(promises) > 20
    for event, _, _, proof in promises:
        assert re.search(r"`tests/[\w/]+\.py::test_\w+`", proof), event
