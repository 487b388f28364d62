"""`fakesweep check`: verdicts on single pictures, without servers."""

from typing import TYPE_CHECKING, Any

import click

from fakesweep import completion
from fakesweep.exits import Exit
from fakesweep.schema.judging.catalogue import DEFAULT_POLICY

if TYPE_CHECKING:
    pass


@click.command()
@click.argument(
    "images", metavar="IMAGE...", nargs=-1, required=True, shell_complete=completion.files
)
@click.option(
    "--model",
    "models",
    metavar="KEY|FOLDER",
    multiple=True,
    shell_complete=completion.models,
    help="Model to judge by: a key, a Hub id or a folder. Repeat it for several.",
)
@click.option(
    "--policy",
    metavar="NAME",
    default=DEFAULT_POLICY,
    shell_complete=completion.policies,
    show_default=True,
    help="Policy: the cut points that turn scores into verdicts.",
)
@click.option(
    "--json", "in_json", is_flag=True, help="Print one JSON object for each picture and model."
)
def check(**asked: Any) -> Exit:
    """Judge single pictures now, without storing anything.

    IMAGE is a file, s3://bucket/key or https://host/path. No server is needed. Each picture is
    decoded in a sandboxed process, as in a worker. The exit status is 1 if a picture could not be
    judged.
    """
    from fakesweep.actions.check import check as run

    return run(**asked)
