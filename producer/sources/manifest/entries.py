"""Manifest entries: the reference of each line, row or object, or its fault."""

import csv
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fakesweep.producer.sources.manifest.lines import Line
from fakesweep.producer.sources.names import ManifestFormat
from fakesweep.schema.errors import SourceError

URI_COLUMN = "uri"
JSON_FIELDS = ("uri", "source-ref")
MAX_RECORD_LINES = 100
_COMMENT_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """Entry of a manifest: a reference, or a fault.

    `last` is the number of the entry's last line.
    """

    line: Line
    last: int
    reference: str = ""
    fault: str | None = None
    is_comment: bool = False


def read_entries(
    lines: Iterator[Line], written_as: ManifestFormat, after: int, name: str
) -> Iterator[ManifestEntry]:
    """Yield the entries of a manifest behind line `after`.

    Raises:
        SourceError: a CSV manifest has no `uri` column.
    """
    match written_as:
        case ManifestFormat.CSV:
            yield from _csv_entries(lines, after, name, ",")
        case ManifestFormat.TSV:
            yield from _csv_entries(lines, after, name, "\t")
        case ManifestFormat.TXT:
            yield from (_txt_entry(line) for line in _filled(lines, after))
        case ManifestFormat.JSONL:
            yield from (_json_entry(line) for line in _filled(lines, after))


def read_mixed_entries(lines: Iterator[Line], after: int) -> Iterator[ManifestEntry]:
    """Yield the entries of a stream with one URI, path or JSON object per line."""
    for line in _filled(lines, after):
        yield _json_entry(line) if line.raw.lstrip().startswith(b"{") else _txt_entry(line)


def _filled(lines: Iterator[Line], after: int) -> Iterator[Line]:
    return (line for line in lines if line.number > after and line.raw.strip())


def _txt_entry(line: Line) -> ManifestEntry:
    """Return the entry of a text line; `#` starts a comment before white space, `#` or the end."""
    said = line.raw[:_COMMENT_BYTES].lstrip()
    if said.startswith(b"#") and said[1:2] in (b"", b" ", b"\t", b"#", b"\r", b"\n"):
        return ManifestEntry(line, line.number, is_comment=True)
    try:
        return ManifestEntry(line, line.number, line.text())
    except ValueError as error:
        return ManifestEntry(line, line.number, fault=str(error))


def _json_entry(line: Line) -> ManifestEntry:
    try:
        return ManifestEntry(line, line.number, _reference(_parsed(line.text())))
    except ValueError as error:
        return ManifestEntry(line, line.number, fault=str(error))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("is not JSON") from error


def _reference(parsed: Any) -> str:
    if not isinstance(parsed, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - the text is at fault
    for field in JSON_FIELDS:
        match parsed.get(field):
            case str(reference):
                return reference.strip()
            case None:
                continue
            case _:
                raise ValueError(f"has a `{field}` that is no text")
    raise ValueError("has neither `uri` nor `source-ref`")


def _csv_entries(
    lines: Iterator[Line], after: int, name: str, delimiter: str
) -> Iterator[ManifestEntry]:
    pushed_back: deque[Line] = deque()
    header = next(_records(lines, pushed_back, delimiter), None)
    if header is None:
        return
    columns = [column.strip().lower() for column in header.row or ()]
    if URI_COLUMN not in columns:
        raise SourceError(
            f"{name} has no column named `uri` in its first line ({header.lines[0].shown}); "
            f"name the column that holds the URIs so"
        )
    position = columns.index(URI_COLUMN)
    behind = (line for line in lines if line.number > after)
    for record in _records(behind, pushed_back, delimiter):
        if record.row is None or any(field.strip() for field in record.row):
            yield record.entry(position)


@dataclass(frozen=True, slots=True)
class _Record:
    """Lines and fields of one row; fields are None where quotes or bytes are invalid."""

    lines: list[Line]
    row: list[str] | None
    fault: str | None = None

    def entry(self, position: int) -> ManifestEntry:
        line, last = self.lines[0], self.lines[-1].number
        if self.row is None:
            return ManifestEntry(line, last, fault=self.fault)
        if position >= len(self.row):
            return ManifestEntry(line, last, fault="has no `uri`: its row is too short")
        return ManifestEntry(line, last, self.row[position].strip())


def _records(lines: Iterator[Line], pushed_back: deque[Line], delimiter: str) -> Iterator[_Record]:
    """Parse lines into rows; `pushed_back` holds lines to be read again.

    An unclosed quote invalidates its own line only.
    """
    while True:
        taken: list[Line] = []
        try:
            row = next(
                csv.reader(_feed(lines, pushed_back, taken), strict=True, delimiter=delimiter), None
            )
        except (csv.Error, ValueError) as error:
            pushed_back.extendleft(reversed(taken[1:]))
            yield _Record(taken[:1], None, _fault(error, taken))
        else:
            if row is None:
                return
            yield _Record(taken, row)


def _fault(error: Exception, taken: list[Line]) -> str:
    if isinstance(error, csv.Error):
        return f"is no row of CSV ({error})"
    return str(error) if len(taken) == 1 else "opens a quote that is not closed"


def _feed(lines: Iterator[Line], pushed_back: deque[Line], taken: list[Line]) -> Iterator[str]:
    while len(taken) < MAX_RECORD_LINES:
        line = pushed_back.popleft() if pushed_back else next(lines, None)
        if line is None:
            return
        taken.append(line)
        line.text()
        yield line.raw.decode("utf-8")
