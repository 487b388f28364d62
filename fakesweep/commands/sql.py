"""`fakesweep sql`: read-only SQL over the views."""

from typing import Any

import click

from fakesweep.output import Format


@click.command()
@click.argument("query", metavar='"SELECT …"')
@click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Format]),
    help="By default a table on a terminal, else tab-separated.",
)
def sql(**asked: Any) -> None:
    """Run a read-only SQL query.

    The main views are verdicts, review_queue, scan_progress, failures and model_disagreements.
    """
    from fakesweep.actions.sql import sql as run

    run(**asked)
