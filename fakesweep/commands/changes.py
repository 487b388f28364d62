"""`fakesweep changes`: what an audit found changed since the one before."""

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
def changes(**asked: Any) -> None:
    """Show what an audit found changed since the one before.

    SCAN is its number, its name (of several the newest), or `last`.

    A row for each image that is new, changed, renamed (the same bytes vanished from another
    address) or looked at again, in the order they were listed; then those that vanished.
    """
    from fakesweep.actions.changes import changes as run

    run(**asked)
