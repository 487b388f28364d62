"""Plain prose: no phrase that hides a length or a person, and no private metaphor as a name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.packages import ROOMS, ROOT

TEXTS = {
    ".py", ".md", ".toml", ".yml", ".yaml", ".ipynb", ".sql", ".json", ".Dockerfile", ".env",
    ".service", ".timer",
}  # fmt: skip
FOLDERS = (".ci", "benchmarks", "docs", "fakesweep", "infra", "tests", *ROOMS)

PHRASES = re.compile(
    r"\bso(?:\s|^\s*(?:#|--|//))+(?:long|many|often|much)\b|\bwho(?:so)?ever\b"
    r"|\bby\s+itself\b",
    re.IGNORECASE | re.MULTILINE,
)
"""`for that time`, `64 images`, `each time` say which; a worker, a caller, a reader says who."""

METAPHORS = {
    "patience": "retry or backoff",
    "pulse": "heartbeat",
    "stray": "dead letter",
    "strays": "dead letters",
    "crew": "scan workers",
    "roster": "model cache",
}
SETTINGS = {"model_patience_seconds"}
"""Public names that stay."""


def texts() -> list[Path]:
    """Return every text of the repository that people write."""
    found = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*")}
    found |= {*ROOT.glob("*")}
    return sorted(
        path
        for path in found
        if path.is_file() and (path.suffix in TEXTS or path.name in {"Makefile", "run"})
    )


def names_in(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module gives to things of its own."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.alias(asname=str() as name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def metaphors_in(name: str) -> set[str]:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")
    return set() if name in SETTINGS else METAPHORS.keys() & set(words)


def test_no_text_has_a_phrase_that_says_less_than_it_could() -> None:
    found = {
        str(path.relative_to(ROOT)): phrases
        for path in texts()
        if (phrases := [one[0] for one in PHRASES.finditer(path.read_text("utf-8"))])
    }
    assert found == {}


def test_no_name_is_a_metaphor_that_has_a_word_of_the_field() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in texts()
        if path.suffix == ".py"
        for name in (path.stem, *names_in(ast.parse(path.read_text("utf-8"))))
        if metaphors_in(name)
    }
    assert found == set()


@pytest.mark.parametrize("words", ["for {} long", "{} Many images", "# it lasts {}\n    # long"])
def test_a_phrase_is_found_however_it_is_written(words: str) -> None:
    assert PHRASES.search(words.format("so"))


@pytest.mark.parametrize("words", ["also long", "so, many", "a so-called list", "however long"])
def test_other_words_are_let_be(words: str) -> None:
    assert PHRASES.search(words) is None


def test_a_metaphor_is_found_in_each_kind_of_name() -> None:
    code = "import a as roster\nclass CrewList: ...\ndef pulse(stray): self.patience = 1"
    assert {one for name in names_in(ast.parse(code)) for one in metaphors_in(name)} == {
        "roster", "crew", "pulse", "stray", "patience",
    }  # fmt: skip
