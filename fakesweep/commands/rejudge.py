"""`fakesweep rejudge`: other verdicts from the same scores."""

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
    help="Policy to judge by from now on.",
)
@json_option
def rejudge(**asked: Any) -> None:
    """Judge stored scores by another policy.

    No image is fetched and no model runs: only the words are judged again.
    """
    from fakesweep.actions.rejudge import rejudge as run

    run(**asked)
