"""`fakesweep retry`: the failed images of a scan, queued again."""

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
@click.option(
    "--detach", is_flag=True, help="Exit once the images are queued, without waiting for the end."
)
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a page.")
@click.option(
    "--fail-on-failures",
    is_flag=True,
    help=f"Exit with status {Exit.IMAGES_FAILED} if images failed.",
)
def retry(**asked: Any) -> Exit:
    """Judge the failed images of a scan again.

    SCAN is a number, a name (the newest scan with it), or `last`.

    It deletes the rows of all failures, or of those with the codes you choose, and queues their
    images in new batches. All other rows stay. Then it waits for the end, as `fakesweep resume`
    does.
    """
    from fakesweep.actions.retry import retry as run

    return run(**asked)
