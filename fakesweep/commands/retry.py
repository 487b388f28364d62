"""`fakesweep retry`: run failures of a scan again, the chosen ones and no others."""

from typing import Any

import click

from fakesweep.exits import Exit
from fakesweep.options import scan_argument
from fakesweep.schema.failures import FailureCode


@click.command()
@scan_argument
@click.option(
    "--code",
    "codes",
    type=click.Choice([code.value for code in FailureCode]),
    multiple=True,
    help="Only failures with this code. Repeat it for several.",
)
@click.option("--detach", is_flag=True, help="Queue the images and leave; do not wait for the end.")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a page.")
@click.option(
    "--fail-on-failures", is_flag=True, help=f"Exit with {Exit.IMAGES_FAILED} when images failed."
)
def retry(**asked: Any) -> Exit:
    """Run the failures of a scan again.

    SCAN is its number, its name (of several the newest), or `last`.

    Those that there are now, all or those with the codes you choose: their rows are forgotten, and
    the images go to the workers in new batches. All other rows stay as they are. Then it waits for
    the end of the scan as `fakesweep resume` does.
    """
    from fakesweep.actions.retry import retry as run

    return run(**asked)
