"""`fakesweep results`: each image's verdict or failure."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
from sqlalchemy import RowMapping

from fakesweep.extras import library
from fakesweep.ledger_access import reading
from fakesweep.option_types import PARQUET
from fakesweep.output import Format, into_file, write_rows
from fakesweep.schema.ledger.reports.results import RESULT_COLUMNS
from fakesweep.schema.ledger.reports.results import results as read_results
from fakesweep.schema.ledger.scans.names import find_scan
from fakesweep.schema.settings import read_settings
from fakesweep.schema.words import VerdictWord
from fakesweep.text import is_terminal

TABLE_COLUMNS = ("verdict", "p_fake", "kind", "model", "image", "failure")


def results(
    *,
    scan: str,
    verdict: str | None,
    failed: bool,
    limit: int | None,
    form: str,
    output: Path | None,
) -> None:
    """Show the verdict or failure of each image of a scan."""
    if verdict is not None and failed:
        raise click.UsageError("--verdict and --failed exclude each other: a failed image has none")
    if form == PARQUET:
        if output is None and is_terminal(sys.stdout):
            raise click.UsageError("Parquet is not for terminals; name a file by --output FILE")
        library("pyarrow")
    with reading(read_settings()) as connection:
        scan_id = find_scan(connection, scan)
        word = None if verdict is None else VerdictWord(verdict)
        rows = read_results(connection, scan_id, word, only_failed=failed, limit=limit)
        with into_file(output) if output else nullcontext():
            _write(rows, form)


def _write(rows: Iterator[RowMapping], form: str) -> None:
    if form == PARQUET:
        from fakesweep.arrow import write_parquet  # noqa: PLC0415 - needs pyarrow

        write_parquet(rows, sys.stdout.buffer)
    elif form == Format.TABLE:
        write_rows(TABLE_COLUMNS, map(_for_people, rows), Format.TABLE)
    else:
        write_rows(RESULT_COLUMNS, _in_full(rows), Format(form))


def _for_people(row: RowMapping) -> tuple[str, ...]:
    failure = f"{row['failure_code']}: {row['failure_message']}" if row["failure_code"] else ""
    return (
        row["verdict"] or row["status"],
        "" if row["p_fake"] is None else f"{row['p_fake']:.4f}",
        row["kind"] or "",
        row["model"] or "",
        row["path"] or row["uri"],
        failure,
    )


def _in_full(rows: Iterator[RowMapping]) -> Iterator[list[Any]]:
    for row in rows:
        yield [row[column] for column in RESULT_COLUMNS]
