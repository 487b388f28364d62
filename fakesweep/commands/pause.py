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

    SCAN is its number, its name (of several the newest), or `last`.

    Nothing more of it is listed or taken up by a worker. Batches in work are finished and stored.
    """
    from fakesweep.actions.pause import pause as run

    run(**asked)
