"""`fakesweep status`: how far scans are, what the workers are at, and why nothing moves."""

from typing import Any

import click

from fakesweep import completion


@click.command()
@click.argument("scan", metavar="[SCAN]", required=False, shell_complete=completion.scans)
@click.option(
    "--json", "in_json", is_flag=True, help="Print one JSON object instead of a table or page."
)
@click.option(
    "--watch", is_flag=True, help="Refresh until the scan, or else the newest, has ended."
)
@click.option(
    "--acknowledge",
    is_flag=True,
    help="Messages put aside as unreadable are known: show them no more.",
)
def status(**asked: Any) -> None:
    """Show how far a scan is, or every recent scan.

    SCAN is its number, its name (of several the newest), or `last`.

    It tells the rate of the last minute and of the whole scan, how long it will take, and what a
    million images cost, where FAKESWEEP_WORKER_HOUR_PRICE says what a worker does. Where nothing
    moves, it says why. Below stands what each live worker does: how busy its stages are, how fast
    it is, and its wall, the stage that keeps it from being faster.
    """
    from fakesweep.actions.status import status as run

    run(**asked)
