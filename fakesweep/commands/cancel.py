"""`fakesweep cancel`: end a scan before its end."""

import click

from fakesweep.reading import reading
from fakesweep.summary import identity
from schema.control import cancel_scan
from schema.reports import progress
from schema.settings import read_settings


@click.command()
@click.argument("scan", metavar="SCAN", type=int)
def cancel(scan: int) -> None:
    """End a scan before its end.

    Nothing more of it is listed or taken up by a worker, for good. Batches in work are finished and
    stored; images that nobody looked at stay pending. What was found out stays.
    """
    with reading(read_settings()) as connection:
        is_new = cancel_scan(connection, scan)
        connection.commit()
        now = progress(connection, scan)
    click.echo(f"scan {scan} {'is' if is_new else 'was already'} cancelled: {identity(now)}")
