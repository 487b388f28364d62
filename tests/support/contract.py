"""Validation of real output by the documented contract."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "contract"


@cache
def validator(name: str) -> Draft202012Validator:
    """Return the validator of a contract document."""
    document = json.loads((FOLDER / f"{name}.schema.json").read_text("utf-8"))
    return Draft202012Validator(document, format_checker=FormatChecker())


def by_contract(name: str, said: Any) -> Any:
    """Return output after validation by its document."""
    wrong = [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(said)]
    assert not wrong, f"{name}: {wrong}\n{said}"
    return said
