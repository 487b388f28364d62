"""docs/glossary.md and the code share one language.

Each word that the glossary defines is a name, or stands in a docstring, of the code. The other way
round, each word in the name of a public class of the contract (`NAMED_BY`) is defined, or is in
`GENERIC`: `DeadDelivery` needs "dead delivery", or "dead" and "delivery".
"""

import ast
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from tests.support.packages import ROOMS, ROOT

NAMED_BY = ("schema/words.py", "schema/message.py", "schema/judging", "schema/ledger")

GENERIC = {
    "answer", "as", "before", "chosen", "counts", "due", "fault", "forgotten", "held", "kept",
    "known", "left", "movement", "origin", "out", "position", "read", "reason", "report", "retry",
    "role", "seen", "standing", "state", "status", "summary", "taken", "unreadable", "view", "word",
}  # fmt: skip
"""Words of class names that are everybody's, as participles are: `Requeued`, `ListedImage`."""

ROWS = re.findall(
    r"^\| `?([a-z][\w ]*?)`? \| (.+) \|$",
    (ROOT / "docs" / "glossary.md").read_text("utf-8"),
    re.MULTILINE,
)[1:]
TERMS = [term.replace("_", " ") for term, _ in ROWS]


def spoken(name: str) -> str:
    """Return a name as words: `DeadLetter`, `dead_letters` and `DEAD_LETTER` alike."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return apart.replace("_", " ").strip().lower()


def _said_by(node: ast.AST) -> Iterator[str | None]:
    match node:
        case ast.Module() | ast.ClassDef() | ast.FunctionDef():
            yield ast.get_docstring(node)
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.arg(arg=name):
            yield name
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield name


def _modules(*places: str) -> Iterator[Path]:
    for place in places:
        path = ROOT / place
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def _code() -> str:
    said = {
        text
        for path in _modules(*ROOMS, "fakesweep")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for text in (*_said_by(node), path.stem)
        if text
    }
    return "\n".join(" ".join(spoken(text).split()) for text in said)


CODE = _code()


def classes() -> list[str]:
    return sorted(
        {
            node.name
            for path in _modules(*NAMED_BY)
            for node in ast.parse(path.read_text("utf-8")).body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        }
    )


def undefined(name: str) -> list[str]:
    """Return the words of a class's name that are neither defined nor generic."""
    words = spoken(name).split()
    phrases = chain.from_iterable(
        [words[start:end] for end in range(start + 1, len(words) + 1)]
        for start in range(len(words))
    )
    defined = {word for phrase in phrases if is_defined(" ".join(phrase)) for word in phrase}
    return [word for word in words if word not in defined | GENERIC and not word.endswith("ed")]


def is_defined(phrase: str) -> bool:
    return phrase in TERMS or phrase.removesuffix("s") in TERMS


def test_the_glossary_is_in_alphabetical_order_and_has_each_word_once() -> None:
    assert len(TERMS) > 50
    assert sorted(set(TERMS)) == TERMS


@pytest.mark.parametrize(("word", "meaning"), ROWS)
def test_a_word_is_defined_in_one_sentence(word: str, meaning: str) -> None:
    assert meaning.endswith("."), word
    assert ". " not in meaning, word


@pytest.mark.parametrize("term", TERMS)
def test_a_defined_word_is_used_in_the_code(term: str) -> None:
    plural = term.removesuffix("y") + "ies" if term.endswith("y") else f"{term}(s|es)?"
    assert re.search(rf"\b({term}|{plural})\b", CODE), term


@pytest.mark.parametrize("name", classes())
def test_the_words_of_a_public_class_are_defined(name: str) -> None:
    assert undefined(name) == []


def test_a_class_of_unknown_words_is_found_out() -> None:
    assert undefined("DeadLetterReport") == []
    assert undefined("BatchGizmo") == ["gizmo"]
