"""`fakesweep rejudge`: new verdicts from stored scores."""

from typing import Any

import click

from fakesweep import completion
from fakesweep.options import scan_argument
from fakesweep.output import json_option


@click.command()
@scan_argument
@click.option(
    "--policy",
    metavar="NAME",
    required=True,
    shell_complete=completion.policies,
    help="Policy to judge by.",
)
@json_option
def rejudge(**asked: Any) -> None:
    """Judge a scan's stored scores by another policy.

    SCAN is a number, a name (the newest scan with it), or `last`.

    No image is fetched and no model runs.
    """
    from fakesweep.actions.rejudge import rejudge as run

    run(**asked)
