"""`fakesweep changes`: the images that changed between an audit and the one before."""

from typing import Any

import click
from sqlalchemy import RowMapping

from fakesweep.ledger_access import reading
from fakesweep.output import Format, write_json, write_rows
from fakesweep.schema.ledger.reports.audits import CHANGE_COLUMNS, change_counts, changes_of
from fakesweep.schema.ledger.scans.names import find_scan
from fakesweep.schema.settings import read_settings
from fakesweep.schema.words import CHANGE_WORDS

TABLE_COLUMNS = ("change", "image", "before")


def changes(scan: str, *, words: tuple[str, ...], form: str, in_json: bool) -> None:
    """Show what changed since the audit before."""
    with reading(read_settings()) as connection:
        scan_id = find_scan(connection, scan)
        counts = change_counts(connection, scan_id)
        rows = changes_of(connection, scan_id, words or CHANGE_WORDS)
        if in_json:
            write_json({"scan_id": scan_id, "counts": counts, "changes": list(map(dict, rows))})
        elif form == Format.TABLE:
            write_rows(TABLE_COLUMNS, map(_for_people, rows), Format.TABLE)
            said = ", ".join(f"{word} {count}" for word, count in counts.items())
            click.echo(f"\nscan {scan_id}: {said}")
        else:
            write_rows(CHANGE_COLUMNS, map(_in_full, rows), Format(form))


def _for_people(row: RowMapping) -> tuple[str, ...]:
    former = row["former_path"] or row["former_uri"] or ""
    return row["change"], row["path"] or row["uri"], former


def _in_full(row: RowMapping) -> list[Any]:
    return [row[column] for column in CHANGE_COLUMNS]
