"""`fakesweep changes`: the images that changed between an audit and the one before."""

from typing import Any

import click

from fakesweep.options import scan_argument
from fakesweep.output import Format
from fakesweep.schema.words import CHANGE_WORDS


@click.command()
@scan_argument
@click.option(
    "--change",
    "words",
    type=click.Choice(CHANGE_WORDS),
    multiple=True,
    help="Only images with this change. Repeat it for several.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice([Format.TABLE.value, Format.JSONL.value, Format.CSV.value]),
    default=Format.TABLE.value,
    show_default=True,
    help="jsonl and csv have every column.",
)
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of rows.")
def changes(**asked: Any) -> None:
    """Show what changed since the audit before.

    SCAN is a number, a name (the newest scan with it), or `last`.

    One row for each image that is new, changed, renamed (same bytes, new address) or judged again,
    in listing order; then the images that vanished.
    """
    from fakesweep.actions.changes import changes as run

    run(**asked)
