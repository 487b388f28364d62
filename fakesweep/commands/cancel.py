"""`fakesweep cancel`: end a scan before its end."""

from typing import Any

import click

from fakesweep.options import scan_argument
from fakesweep.output import json_option


@click.command()
@scan_argument
@json_option
def cancel(**asked: Any) -> None:
    """End a scan before its end.

    SCAN is its number, its name (of several the newest), or `last`.

    Nothing more of it is listed or taken up by a worker, for good. Batches in work are finished and
    stored; images that nobody looked at stay pending. What was found out stays.
    """
    from fakesweep.actions.cancel import cancel as run

    run(**asked)
