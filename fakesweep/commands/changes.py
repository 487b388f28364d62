"""`fakesweep changes`: what an audit found changed since the one before."""

from typing import Any

import click
from sqlalchemy import RowMapping

from fakesweep.choices import scan_argument
from fakesweep.output import Format, write_json, write_rows
from fakesweep.reading import reading
from schema.audit_reports import CHANGE_COLUMNS, CHANGE_WORDS, change_counts, changes_of
from schema.scan_names import find_scan
from schema.settings import read_settings

TABLE_COLUMNS = ("change", "image", "before")


@click.command()
@scan_argument
@click.option(
    "--change",
    "words",
    type=click.Choice(CHANGE_WORDS),
    multiple=True,
    help="Only images that changed so. Repeat it for several.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice([Format.TABLE.value, Format.JSONL.value, Format.CSV.value]),
    default=Format.TABLE.value,
    show_default=True,
    help="jsonl and csv carry every column.",
)
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of rows.")
def changes(scan: str, *, words: tuple[str, ...], form: str, in_json: bool) -> None:
    """Show what an audit found changed since the one before.

    SCAN is its number, its name (of several the newest), or `last`.

    A row for each image that is new, changed, renamed (the same bytes vanished from another
    address) or looked at again, in the order they were listed; then those that vanished.
    """
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
