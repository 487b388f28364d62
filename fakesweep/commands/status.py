"""`fakesweep status`: progress of scans, load of workers, and why a scan does not move."""

from typing import Any

import click

from fakesweep import completion


@click.command()
@click.argument("scan", metavar="[SCAN]", required=False, shell_complete=completion.scans)
@click.option(
    "--json", "in_json", is_flag=True, help="Print one JSON object instead of a table or page."
)
@click.option("--watch", is_flag=True, help="Refresh until SCAN, by default the newest, has ended.")
@click.option(
    "--acknowledge",
    is_flag=True,
    help="Acknowledge the unreadable messages: status shows these no more.",
)
def status(**asked: Any) -> None:
    """Show the progress of a scan, or of all recent scans.

    SCAN is a number, a name (the newest scan with it), or `last`.

    It shows the rate of the last minute and of the whole scan, the time left, and the cost of a
    million images if FAKESWEEP_WORKER_HOUR_PRICE is set. If nothing moves, it says why. A line for
    each live worker shows its rate, how busy each stage is, and the bottleneck: the stage that
    limits its rate, or the queue if no work waits.
    """
    from fakesweep.actions.status import status as run

    run(**asked)
