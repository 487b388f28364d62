"""`fakesweep pause`: hold a scan until it is resumed."""

import click

from fakesweep.ledger_access import reading
from fakesweep.output import write_json
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.ledger.scans.control import pause_scan
from fakesweep.schema.ledger.scans.names import find_scan
from fakesweep.schema.settings import read_settings
from fakesweep.summary import identity, progress_as_json
from fakesweep.text import program


def pause(scan: str, *, in_json: bool) -> None:
    """Hold a scan until it is resumed."""
    with reading(read_settings()) as connection:
        scan_id = find_scan(connection, scan)
        is_new = pause_scan(connection, scan_id)
        connection.commit()
        now = progress(connection, scan_id)
    if in_json:
        write_json(progress_as_json(now))
        return
    click.echo(f"scan {scan_id} {'is' if is_new else 'was already'} paused: {identity(now)}")
    click.echo(f"go on with it: {program()} resume {scan_id}")
