"""`fakesweep pause`: hold a scan until it is resumed."""

from typing import Any

import click

from fakesweep.options import scan_argument
from fakesweep.output import json_option


@click.command()
@scan_argument
@json_option
def pause(**asked: Any) -> None:
    """Hold a scan until it is resumed.

    SCAN is a number, a name (the newest scan with it), or `last`.

    Listing stops, and workers start no more of its batches. Running batches finish and are stored.
    """
    from fakesweep.actions.pause import pause as run

    run(**asked)
