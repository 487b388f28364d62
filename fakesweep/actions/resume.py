"""`fakesweep resume`: an interrupted or paused scan, from the ledger's state of it."""

import click

from fakesweep.exits import Exit
from fakesweep.foreground.finish import conclude, leave_to_others
from fakesweep.ledger_access import connected
from fakesweep.logging_setup import log_troubles
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.sources.manifest.listing import STDIN
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.scans.control import resume_scan
from fakesweep.schema.ledger.scans.names import find_scan
from fakesweep.schema.ledger.scans.scans import sources_left
from fakesweep.schema.settings import read_settings
from fakesweep.stack.keeping import stack_to_go_on


def resume(scan: str, *, detach: bool, in_json: bool, fail_on_failures: bool) -> Exit:
    """Resume a scan that was interrupted or paused."""
    settings = read_settings()
    log_troubles(settings)
    with_worker = not settings.names_cluster
    catalogue = read_catalogue(settings.catalogue)
    with stack_to_go_on(settings, f"scan {scan}", detach=detach) as settings:
        with connected(settings.database_url or "", "command") as connection:
            scan_id = find_scan(connection, scan)
            resume_scan(connection, scan_id)
            connection.commit()
            if detach:
                return leave_to_others(
                    connection, scan_id, in_json=in_json, on_cluster=not with_worker
                )
        with open_producer(settings, catalogue) as producer:
            _say_if_input_is_awaited(producer, scan_id)
            return conclude(
                producer,
                scan_id,
                with_worker=with_worker,
                in_json=in_json,
                fail_on_failures=fail_on_failures,
            )


def _say_if_input_is_awaited(producer: Producer, scan_id: int) -> None:
    with producer.engine.connect() as connection:
        awaited = any(left.source == STDIN for left in sources_left(connection, scan_id))
    if awaited:
        click.echo(
            f"scan {scan_id} reads its URIs from standard input: give it the same list again, "
            f"it goes on where it stood",
            err=True,
        )
