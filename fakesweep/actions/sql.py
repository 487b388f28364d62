"""`fakesweep sql`: read-only SQL over the views."""

import sys

from fakesweep.ledger_access import reading
from fakesweep.output import Format, write_rows
from fakesweep.schema.ledger.reports.adhoc import query as run_query
from fakesweep.schema.settings import read_settings


def sql(query: str, form: str | None) -> None:
    """Run a read-only SQL query."""
    chosen = Format(form or (Format.TABLE if sys.stdout.isatty() else Format.TABS))
    with reading(read_settings()) as connection:
        columns, rows = run_query(connection, query)
        write_rows(columns, rows, chosen)
