"""Rows of an S3 Inventory's data files; CSV is parsed here, in pieces."""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import BinaryIO, cast

from fakesweep.producer.sources.inventory.fields import FIELDS, Row, places_of
from fakesweep.producer.sources.inventory.manifest import InventoryFormat
from fakesweep.schema.errors import SourceError
from fakesweep.schema.net.storage import one_line

PIECE_BYTES = 1024 * 1024
MAX_LINE_LETTERS = 64 * 1024
_LETTER_BYTES = 4  # of UTF-8, at most


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """Invalid row, with the reason."""

    reason: str


def read_rows(
    stream: BinaryIO, written_as: InventoryFormat, columns: Sequence[str], after: int, name: str
) -> Iterator[Row | BrokenRow]:
    """Yield the rows of a file behind row `after`.

    Raises:
        SourceError: the file is not of this format, or its reader is not installed.
    """
    try:
        for piece in _pieces(stream, written_as, columns, after):
            yield from piece
    except ImportError as error:
        raise SourceError(
            f"{name} needs pyarrow to be read, not installed here; run "
            f"`pip install 'fakesweep[parquet]'`, or have S3 write the inventory as CSV"
        ) from error
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise SourceError(
            f"{name} cannot be read as {written_as}: {one_line(str(error))}; scan the manifest of "
            f"an inventory that is whole"
        ) from error


def _pieces(
    stream: BinaryIO, written_as: InventoryFormat, columns: Sequence[str], after: int
) -> Iterator[Sequence[Row | BrokenRow]]:
    if written_as is InventoryFormat.CSV:
        return _csv_pieces(stream, columns, after)
    # Pyarrow is an optional dependency.
    from fakesweep.producer.sources.inventory.arrow import arrow_pieces  # noqa: PLC0415

    return arrow_pieces(stream, written_as, after)


def _csv_pieces(
    stream: BinaryIO, columns: Sequence[str], after: int
) -> Iterator[Sequence[Row | BrokenRow]]:
    width, places = len(columns), places_of(columns)
    # A missing column reads the empty field that each row gets at its end.
    pick = cast(
        "Callable[[list[str]], Row]", itemgetter(*(places.get(one, width) for one in FIELDS))
    )
    for lines in _lines(stream):
        if after >= len(lines):
            after -= len(lines)
            continue
        rows = _split(lines[after:], width)
        yield [row if isinstance(row, BrokenRow) else pick(row) for row in rows]
        after = 0


def _lines(stream: BinaryIO) -> Iterator[list[str]]:
    """Yield lists of lines; an overlong line is truncated, and invalid UTF-8 becomes surrogates."""
    longest, rest = _LETTER_BYTES * (MAX_LINE_LETTERS + 1), b""
    with gzip.GzipFile(fileobj=stream) as unpacked:
        while piece := unpacked.read(PIECE_BYTES):
            whole, is_whole, rest = (rest + piece).rpartition(b"\n")
            rest = rest[:longest]
            if is_whole:
                yield whole.decode("utf-8", "surrogateescape").split("\n")
    if rest:
        yield [rest.decode("utf-8", "surrogateescape")]


def _split(lines: list[str], width: int) -> Sequence[list[str] | BrokenRow]:
    """Split lines into fields, with an empty field at the end.

    An unclosed quote invalidates its own line only.
    """
    try:
        rows = list(csv.reader(lines, strict=True))
    except csv.Error:
        rows = []
    if (
        len(rows) != len(lines)
        or set(map(len, rows)) != {width}
        or max(map(len, lines)) > MAX_LINE_LETTERS
    ):
        return [_split_alone(line, width) for line in lines]
    for row in rows:
        row.append("")
    return rows


def _split_alone(line: str, width: int) -> list[str] | BrokenRow:
    if len(line) > MAX_LINE_LETTERS:
        return BrokenRow(f"it is longer than {MAX_LINE_LETTERS} letters")
    try:
        [row] = csv.reader([line], strict=True)
    except csv.Error as error:
        return BrokenRow(f"it is no row of CSV ({error})")
    if len(row) != width:
        return BrokenRow(f"it has {len(row)} columns and not {width}")
    return [*row, ""]
