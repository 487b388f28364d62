"""`fakesweep cancel`: stop a scan for good."""

import click

from fakesweep.ledger_access import reading
from fakesweep.output import write_json
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.ledger.scans.control import cancel_scan
from fakesweep.schema.ledger.scans.names import find_scan
from fakesweep.schema.settings import read_settings
from fakesweep.summary import identity, progress_as_json


def cancel(scan: str, *, in_json: bool) -> None:
    """Stop a scan for good."""
    with reading(read_settings()) as connection:
        scan_id = find_scan(connection, scan)
        is_new = cancel_scan(connection, scan_id)
        connection.commit()
        now = progress(connection, scan_id)
    if in_json:
        write_json(progress_as_json(now))
        return
    click.echo(f"scan {scan_id} {'is' if is_new else 'was already'} cancelled: {identity(now)}")
