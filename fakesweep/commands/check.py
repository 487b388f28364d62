"""`fakesweep check`: an answer for single pictures, in words, without servers."""

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
    help="Model to judge by: a key, a Hub id or a folder. Repeat it to ask several.",
)
@click.option(
    "--policy",
    metavar="NAME",
    default=DEFAULT_POLICY,
    shell_complete=completion.policies,
    show_default=True,
    help="Cut points that turn scores into verdicts.",
)
@click.option("--json", "in_json", is_flag=True, help="Print a line of JSON for each answer.")
def check(**asked: Any) -> Exit:
    """Judge single pictures here and now, with nothing stored.

    No server takes part. IMAGE is a file, s3://bucket/key or https://host/path. Each is decoded in
    a process of its own, as a worker does it. The exit status is 1 where a picture could not be
    judged.
    """
    from fakesweep.actions.check import check as run

    return run(**asked)
