"""`fakesweep cancel`: stop a scan for good."""

from typing import Any

import click

from fakesweep.options import scan_argument
from fakesweep.output import json_option


@click.command()
@scan_argument
@json_option
def cancel(**asked: Any) -> None:
    """Stop a scan for good.

    SCAN is a number, a name (the newest scan with it), or `last`.

    Listing stops, and workers start no more of its batches. Running batches finish and are stored;
    the remaining images stay pending. Verdicts stay.
    """
    from fakesweep.actions.cancel import cancel as run

    run(**asked)
