"""`fakesweep sql`: a person's own query over the views."""

import sys

import click

from fakesweep.output import Format, write_rows
from fakesweep.reading import reading
from schema.reports import query as run_query
from schema.settings import read_settings


@click.command()
@click.argument("query", metavar='"SELECT …"')
@click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Format]),
    help="Without it: a table on a terminal, tab-separated elsewhere.",
)
def sql(query: str, form: str | None) -> None:
    """Run a query of your own, read-only.

    The views verdicts, review_queue, scan_progress, failures and model_disagreements are there
    to be asked.
    """
    chosen = Format(form or (Format.TABLE if sys.stdout.isatty() else Format.TABS))
    with reading(read_settings()) as connection:
        columns, rows = run_query(connection, query)
        write_rows(columns, rows, chosen)
