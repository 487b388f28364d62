"""`fakesweep cancel`: end a scan before its end."""

import click

from fakesweep.choices import scan_argument
from fakesweep.output import json_option, write_json
from fakesweep.reading import reading
from fakesweep.summary import identity, progress_as_json
from schema.control import cancel_scan
from schema.reports import progress
from schema.scan_names import find_scan
from schema.settings import read_settings


@click.command()
@scan_argument
@json_option
def cancel(scan: str, *, in_json: bool) -> None:
    """End a scan before its end.

    SCAN is its number, its name (of several the newest), or `last`.

    Nothing more of it is listed or taken up by a worker, for good. Batches in work are finished and
    stored; images that nobody looked at stay pending. What was found out stays.
    """
    with reading(read_settings()) as connection:
        scan_id = find_scan(connection, scan)
        is_new = cancel_scan(connection, scan_id)
        connection.commit()
        now = progress(connection, scan_id)
    if in_json:
        write_json(progress_as_json(now))
        return
    click.echo(f"scan {scan_id} {'is' if is_new else 'was already'} cancelled: {identity(now)}")
