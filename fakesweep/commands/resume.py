"""`fakesweep resume`: go on with a scan where its ledger says it stands."""

from typing import Any

import click

from fakesweep.exits import Exit
from fakesweep.options import scan_argument


@click.command()
@scan_argument
@click.option("--detach", is_flag=True, help="End a pause and leave; do not wait for the end.")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a page.")
@click.option(
    "--fail-on-failures", is_flag=True, help=f"Exit with {Exit.IMAGES_FAILED} when images failed."
)
def resume(**asked: Any) -> Exit:
    """Go on with a scan that was interrupted or paused.

    SCAN is its number, its name (of several the newest), or `last`.

    Lists what is left of its sources and waits for its end, on the local stack with a worker.
    Images that have a row already are not looked at again.
    """
    from fakesweep.actions.resume import resume as run

    return run(**asked)
