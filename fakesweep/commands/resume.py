"""`fakesweep resume`: an interrupted or paused scan, from the ledger's state of it."""

from typing import Any

import click

from fakesweep.exits import Exit
from fakesweep.options import scan_argument


@click.command()
@scan_argument
@click.option(
    "--detach", is_flag=True, help="Exit once the scan is resumed, without waiting for its end."
)
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a page.")
@click.option(
    "--fail-on-failures",
    is_flag=True,
    help=f"Exit with status {Exit.IMAGES_FAILED} if images failed.",
)
def resume(**asked: Any) -> Exit:
    """Resume a scan that was interrupted or paused.

    SCAN is a number, a name (the newest scan with it), or `last`.

    It lists the rest of the sources and waits for the end; on the local stack it runs a worker.
    Images with a verdict or failure are not judged again.
    """
    from fakesweep.actions.resume import resume as run

    return run(**asked)
