"""Rows on standard output: a table for people; tabs, JSON Lines or CSV for programs."""

import csv
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import click

from fakesweep.schema.errors import StreamError
from fakesweep.text import printable

PAGE_ROWS = 1_000
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters that begin a spreadsheet formula, with full-width forms, also after white space."""


class Format(StrEnum):
    """Formats of rows."""

    TABLE = "table"
    TABS = "tabs"
    JSONL = "jsonl"
    CSV = "csv"


json_option = click.option(
    "--json", "in_json", is_flag=True, help="Print one JSON object instead of text."
)


def write_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], form: Format) -> None:
    """Write rows as they arrive; at most `PAGE_ROWS` are held in memory."""
    match form:
        case Format.TABLE:
            write_table(columns, rows)
        case Format.TABS:
            _write_tabs(columns, rows)
        case Format.JSONL:
            _write_json_lines(columns, rows)
        case Format.CSV:
            _write_csv(columns, rows)


@contextmanager
def into_file(path: Path) -> Iterator[None]:
    """Redirect standard output to a file, which is renamed to `path` once complete.

    Raises:
        StreamError: the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as out, redirect_stdout(out):
            yield
        draft.replace(path)
    except OSError as error:
        raise StreamError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows for people: drawn on a terminal, aligned plain text elsewhere."""
    pages = _pages([printable(cell(value)) for value in row] for row in rows)
    heads = [printable(column) for column in columns]
    if sys.stdout.isatty():
        from fakesweep import terminal  # noqa: PLC0415 - rich is loaded for terminals only

        for page in pages:
            terminal.draw_table(heads, page)
        return
    widths: list[int] = []
    for page in pages:
        if not widths:
            widths = [max(map(len, column)) for column in zip(heads, *page, strict=True)]
            click.echo(_aligned(heads, widths))
        for row in page:
            click.echo(_aligned(row, widths))


def write_json(value: Any) -> None:
    """Write one JSON value on one line, in ASCII, so that it holds no terminal escapes."""
    click.echo(json.dumps(plain(value)))


def plain(value: Any) -> Any:  # noqa: PLR0911 - one line for each sort of value
    """Return a value in JSON's types: times in ISO 8601 UTC, bytes in hexadecimal."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() | Decimal():
            number = float(value)
            return number if abs(number) < float("inf") else str(number)
        case datetime():
            return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
        case date():
            return value.isoformat()
        case bytes() | memoryview():
            return bytes(value).hex()
        case Mapping():
            return {str(key): plain(one) for key, one in value.items()}
        case list() | tuple():
            return [plain(one) for one in value]
        case _:
            return str(value)


def cell(value: Any) -> str:
    """Return a value as text: empty for None, JSON for lists and mappings."""
    match plain(value):
        case None:
            return ""
        case str() as text:
            return text
        case simple_or_nested:
            return json.dumps(simple_or_nested)


def defused(value: Any) -> str:
    """Return a cell that no spreadsheet evaluates as a formula; numbers stay numbers."""
    text = cell(value)
    if isinstance(value, str) and (
        text.startswith(("\t", "\r", "\n")) or text.lstrip().startswith(FORMULA_STARTS)
    ):
        return "'" + text
    return text


def _write_tabs(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    for row in itertools.chain([columns], rows):
        click.echo("\t".join(printable(cell(value)) for value in row))


def _write_json_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    keys = list(_distinct(columns))
    for row in rows:
        write_json(dict(zip(keys, row, strict=True)))


def _write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    shown = printable if sys.stdout.isatty() else str
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for row in itertools.chain([columns], rows):
        writer.writerow([shown(defused(value)) for value in row])


def _distinct(columns: Sequence[str]) -> Iterator[str]:
    taken: set[str] = set()
    for column in columns:
        numbered = (f"{column}_{number}" for number in itertools.count(2))
        name = next(name for name in itertools.chain([column], numbered) if name not in taken)
        taken.add(name)
        yield name


def _pages(rows: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    """Yield pages of rows, at least one, so that an empty table shows its head."""
    iterator = iter(rows)
    yield list(itertools.islice(iterator, PAGE_ROWS))
    while page := list(itertools.islice(iterator, PAGE_ROWS)):
        yield page


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(map(str.ljust, row, widths)).rstrip()
