"""`fakesweep pause`: hold a scan until it is resumed."""

import click

from fakesweep.reading import reading
from fakesweep.summary import identity
from fakesweep.text import program
from schema.control import pause_scan
from schema.reports import progress
from schema.settings import read_settings


@click.command()
@click.argument("scan", metavar="SCAN", type=int)
def pause(scan: int) -> None:
    """Hold a scan until it is resumed.

    Nothing more of it is listed or taken up by a worker. Batches in work are finished and stored.
    """
    with reading(read_settings()) as connection:
        is_new = pause_scan(connection, scan)
        connection.commit()
        now = progress(connection, scan)
    click.echo(f"scan {scan} {'is' if is_new else 'was already'} paused: {identity(now)}")
    click.echo(f"go on with it: {program()} resume {scan}")
