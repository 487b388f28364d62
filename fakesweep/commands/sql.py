"""`fakesweep sql`: a person's own query over the views."""

from typing import Any

import click

from fakesweep.output import Format


@click.command()
@click.argument("query", metavar='"SELECT …"')
@click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Format]),
    help="Without it: a table on a terminal, tab-separated elsewhere.",
)
def sql(**asked: Any) -> None:
    """Run a query of your own, read-only.

    The views verdicts, review_queue, scan_progress, failures and model_disagreements are there
    to be asked.
    """
    from fakesweep.actions.sql import sql as run

    run(**asked)
