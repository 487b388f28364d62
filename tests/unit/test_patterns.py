"""Every pattern that meets strangers' text works in time proportional to its length.

A pattern that is not in `USES` yet fails here: say how the product uses it, and on which text it
could take longest.
"""

import ast
import importlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from botocore.parsers import ResponseParserError

from fakesweep.producer.sources import resolve_source
from fakesweep.producer.sources.manifest.lines import Line
from fakesweep.producer.sources.names import shown
from fakesweep.producer.sources.s3.listing_parser import ListingParser
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.formats import format_of
from fakesweep.schema.judging.labels import side_of
from fakesweep.schema.ledger.copy import lines_of
from fakesweep.schema.net.storage import one_line
from fakesweep.schema.redaction import without_credentials, without_secrets
from fakesweep.schema.selection import patterns_of
from fakesweep.schema.telemetry.logs import cleared
from fakesweep.schema.uris import normalise, scheme_of
from fakesweep.workers.sandbox.readers.reasons import is_not_built_in, reason

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schema", "serving", "producer", "workers", "fakesweep")
OF_RE = {"compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
MADE_BY_US = "its text is our own, or the person's own option"


OBJECT = "<Contents><Key>a</Key><LastModified>b</LastModified><ETag>c</ETag>"


class Use(NamedTuple):
    """How the product uses a pattern, and pieces that make its longest work when repeated.

    A piece in two parts, at the bar, is the beginning and what is repeated.
    """

    method: str
    pieces: tuple[str, ...]


USES: dict[str, Use | str] = {
    "fakesweep/manual_page.py:_paragraphs": "reads the help of our own commands",
    "producer/api/submission_body.py:_LENGTH": Use("fullmatch", ("1",)),
    "serving/framing.py:_UNCLEAR": Use("search", ("a", "\r\n", "\t")),
    "serving/framing.py:_REQUEST_LINE": Use("fullmatch", ("a", "a ", "a |b", "a b|/")),
    "serving/framing.py:_FIELD": Use("fullmatch", ("a", "a:", "a:| ", "a:x| y", "a:|\t")),
    "serving/framing.py:_LENGTH": Use("fullmatch", ("1",)),
    "serving/framing.py:_CHUNK_SIZE": Use("fullmatch", ("1",)),
    "schema/migrations/statements.py:statement_of": "it reads our own files alone",
    "producer/api/models.py:_digits": "its text is a part of a path: see the functions below",
    "serving/middleware.py:_TOKEN": Use("sub", ("fsk_", "fakesweep_", "fsk_|a", "a-")),
    "producer/sources/inventory/listing.py:_NO_ESCAPE": Use("search", ("%41", "a", "%|4")),
    "producer/sources/s3/prefix.py:_PLAIN_KEY": Use("fullmatch", ("a", "a/", "a|é")),
    "producer/sources/s3/listing_parser.py:_AS_S3_WRITES": Use(
        "findall",
        (
            "<Contents>",
            "<Contents><Key>",
            "<Contents><Key>|a",
            f"{OBJECT}|<ChecksumAlgorithm></ChecksumAlgorithm>",
            f"{OBJECT}<ChecksumType></ChecksumType>",
            f"{OBJECT}<Size>|1",
        ),
    ),
    "producer/uploads/sqs.py:_NAME": MADE_BY_US,
    "producer/uploads/sqs.py:_AMAZON": MADE_BY_US,
    "producer/uploads/sqs.py:_PASSING": Use("search", ("Throt", "a", "Unavailabl")),
    "producer/uploads/sqs.py:_MISSING": Use("search", ("NonExistentQueu", "QueueDoesNotExis")),
    "schema/redaction.py:_USER_OF_URL": Use("sub", ("://", "://|a", "a://@", "://a:", "@")),
    "schema/redaction.py:_WORD": Use("sub", ("a", "a ", " ", "?")),
    "schema/redaction.py:_ADDRESS": Use("search", ("http://", "https:/", "http", "h|t")),
    "schema/redaction.py:_PARAMETER": Use("match", ("a", "a=", "%.~-")),
    "schema/ledger/api_tokens.py:_TOKEN": Use("fullmatch", ("fsk_", "fsk_|a")),
    "schema/ledger/copy.py:_SPECIAL": Use("search", ("a", "a\t")),
    "schema/formats.py:_format": "see the functions below",
    "schema/ages.py:_AGE": MADE_BY_US,
    "schema/ages.py:_LIKE_AN_AGE": MADE_BY_US,
    "schema/ages.py:_RECORDED_MINUTES": MADE_BY_US,
    "schema/broker.py:_check_host": MADE_BY_US,
    "schema/broker.py:_socket": MADE_BY_US,
    "schema/broker.py:checked": MADE_BY_US,
    "schema/ledger/logins.py:_NAME": MADE_BY_US,
    "schema/settings.py:_ADDRESS_OF_A_SERVICE": MADE_BY_US,
    "schema/settings.py:_OF_A_SERVICE": MADE_BY_US,
    "schema/settings.py:_endpoint": MADE_BY_US,
    "schema/selection.py:_SIZE": MADE_BY_US,
    "schema/selection.py:_SUFFIX": MADE_BY_US,
    "schema/selection.py:patterns_of": "see the functions below",
    "schema/uris.py:_SCHEME": Use("match", ("a", "a:", "a:/", "://", "a|+.-")),
    "schema/uris.py:_BUCKET": Use("fullmatch", ("a", "a.", "a|-")),
    "schema/uris.py:_BLANK": Use("search", ("a", "a ")),
    "schema/ledger/webhooks/webhooks.py:_NAME": MADE_BY_US,
    "schema/judging/catalogue.py:_HUB_ID": Use("fullmatch", ("a", "a/", "a|.-")),
    "schema/judging/labels.py:side_of": "see the functions below",
    "workers/sandbox/readers/reasons.py:reason": "see the functions below",
    "workers/sandbox/readers/reasons.py:is_not_built_in": "see the functions below",
    "workers/fetch/s3_routes.py:_PLAIN": Use(
        "fullmatch", ("AWS4-HMAC-SHA256 Credential=|a", "AWS4-HMAC-SHA256 Credential=|/20260101")
    ),
    "workers/fetch/s3_routes.py:_CODE": Use("search", ("<Code>", "<Code>|a", "<Code>a<")),
    "workers/fetch/s3_routes.py:_MESSAGE": Use("search", ("<Message>", "<Message>|a")),
    "fakesweep/stack/cluster.py:_PLAIN_PATH": MADE_BY_US,
    "fakesweep/stack/processes.py:_CAUSE": MADE_BY_US,
    "fakesweep/stack/processes.py:_STAMP": MADE_BY_US,
    "fakesweep/commands/worker.py:DEVICE": MADE_BY_US,
}

ADDRESSES = (
    "://", "http://", "https://a", "http://a?", "http://a@", "?a=", "a?b", "http://?", "é://\uff20",
    "://|a", "http://|a", "http://a?|b", "http://u:|@", "a b?", "\x1b://", "'http://\"?",
)  # fmt: skip
"""What URLs are made of, again and again."""

WANTED = patterns_of(("*a*b*c.jpg", "*?a*?a*", "[!a]*[a-z]*b", "*.jpg"))


def _refused(ask: Callable[[str], object]) -> Callable[[str], object]:
    def asked(text: str) -> object:
        try:
            return ask(text)
        except (InvalidUri, SourceError, ResponseParserError) as error:
            return error

    return asked


def _listed(text: str) -> object:
    parser = ListingParser()
    return parser._read(f"<ListBucketResult>{text}</ListBucketResult>".encode())[1]


def _wanted(text: str) -> object:
    assert WANTED is not None
    return WANTED.match(text)


FUNCTIONS: dict[str, tuple[Callable[[str], object], tuple[str, ...]]] = {
    "the log": (cleared, ADDRESSES),
    "secrets": (without_secrets, ADDRESSES),
    "credentials": (without_credentials, ADDRESSES),
    "a line": (lambda text: Line(1, text.encode()).shown, ADDRESSES),
    "a line too long": (lambda text: Line(1, text.encode(), too_long=True).shown, ADDRESSES),
    "a source shown": (shown, ADDRESSES),
    "one line": (one_line, ADDRESSES),
    "a scheme": (scheme_of, ADDRESSES),
    "a URI": (
        _refused(normalise),
        (*ADDRESSES, "s3://bucket/|../", "s3://bucket/|a/../", "file:///|../", "file:///|%2e/"),
    ),
    "a source": (_refused(resolve_source), ADDRESSES),
    "a class": (side_of, ("a", "_", "-a", "fake")),
    "a row": (lambda text: lines_of([(text, 1)]), ("a", "\\", "\t\n")),
    "a beginning": (
        lambda text: format_of(text.encode()),
        (
            "<!-->",
            "<!-- -->",
            "<?xml|?>",
            "<?xml ?><!-->",
            "<?xml ?>|<!-->",
            "<!DOCTYPE svg>",
            "<!DOCTYPE svg [|]>",
            " ",
            "<!-->| ",
            "<!DOCTYPE svg|[",
            "<!--|-->",
        ),
    ),
    "what a decoder says": (
        lambda text: (reason(ValueError(text)), is_not_built_in(ValueError(text))),
        ("end of ", "bad ", "Unsupported ", "not been built i", "too ", "a\n"),
    ),
    "what is wanted": (_wanted, ("a", "ab", "abc.jp", "aab", "b")),
    "a listing": (
        _refused(_listed),
        ("<Contents></Contents>", "<Contents><Key>a</Key></Contents>", "<Contents>"),
    ),
}


def names_in(tree: ast.AST) -> Iterator[str]:
    """Yield where patterns are made: the constant they are kept in, or the function."""
    for node in ast.iter_child_nodes(tree):
        found = [*_calls(node)]
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) if found:
                yield from [name] * len(found)
            case ast.FunctionDef(name=name) if found:
                yield from [name] * len(found)
            case ast.ClassDef() if found:
                yield from names_in(node)
            case _ if found:
                yield from ["?"] * len(found)


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=attr)) if attr in OF_RE:
                yield node


def patterns_in_product() -> set[str]:
    return {
        f"{file.relative_to(ROOT)}:{name}"
        for package in PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
        for name in names_in(ast.parse(file.read_text("utf-8")))
    }


def test_every_pattern_of_the_product_is_known_here() -> None:
    assert patterns_in_product() == set(USES)


def test_patterns_come_from_re_alone() -> None:
    strangely = re.compile(r"^\s*(from re import|import re as|import regex)", re.MULTILINE)
    strange = [
        str(file)
        for package in PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
        if strangely.search(file.read_text("utf-8"))
    ]
    assert strange == []


@pytest.mark.parametrize(
    "line",
    [
        "x = re.compile('a')",
        "def f():\n    re.sub('a', '', '')",
        "class A:\n    b = re.compile('a')",
    ],
)
def test_a_new_pattern_is_found_wherever_it_is_made(line: str) -> None:
    assert [*names_in(ast.parse(line))]


def seconds(ask: Callable[[str], object], text: str) -> float:
    """Return the least processor time of a few calls."""
    times = []
    for _ in range(3):
        began = time.thread_time()
        ask(text)
        times.append(time.thread_time() - began)
        if times[-1] > 1:
            break
    return min(times)


def built(piece: str, kibibytes: int) -> str:
    start, bar, repeated = piece.partition("|")
    if not bar:
        start, repeated = "", piece
    end = "\0"  # what nothing admits, so that all has been in vain
    return start + repeated * (kibibytes * 1024 // len(repeated.encode())) + end


def check(ask: Callable[[str], object], piece: str) -> None:
    """Hold the time at four times the length against four times the time, generously."""
    small, middle = seconds(ask, built(piece, 4)), seconds(ask, built(piece, 64))
    assert middle < 60 * max(small, 0.002), piece
    assert seconds(ask, built(piece, 256)) < 10 * max(middle, 0.005), piece


def module_of(file: str) -> str:
    module = file.removesuffix(".py").replace("/", ".")
    return module if module.startswith("fakesweep.") else f"fakesweep.{module}"


def of_pattern(name: str, use: Use) -> Callable[[str], object]:
    file, _, constant = name.partition(":")
    pattern = getattr(importlib.import_module(module_of(file)), constant)
    is_of_bytes = isinstance(pattern.pattern, bytes)

    def ask(text: str) -> object:
        subject = text.encode() if is_of_bytes else text
        if use.method == "sub":
            return pattern.sub(b"" if is_of_bytes else "", subject)
        return getattr(pattern, use.method)(subject)

    return ask


@pytest.mark.parametrize("name", [name for name, use in USES.items() if isinstance(use, Use)])
def test_a_pattern_takes_time_in_proportion(name: str) -> None:
    use = USES[name]
    assert isinstance(use, Use)
    for piece in use.pieces:
        check(of_pattern(name, use), piece)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_reads_strangers_text_takes_time_in_proportion(name: str) -> None:
    ask, pieces = FUNCTIONS[name]
    for piece in pieces:
        check(ask, piece)


def test_a_pattern_that_takes_longer_is_found_out() -> None:
    quadratic = re.compile(r"https?://[^\s?]+\?")
    with pytest.raises(AssertionError):
        check(quadratic.search, "http://")
