"""`fakesweep policy`: the cut points that turn scores into verdicts."""

from typing import Any

import click

from fakesweep import completion
from fakesweep.output import json_option


@click.group()
def policy() -> None:
    """Show or set policies: cut points that turn scores into verdicts."""


@policy.command("list")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a table.")
def list_all(**asked: Any) -> None:
    """List every policy with its current cut points."""
    from fakesweep.actions.policy import list_all as run

    run(**asked)


@policy.command()
@click.argument("name", shell_complete=completion.policies)
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a table.")
def show(**asked: Any) -> None:
    """Show one policy: its cut points, and its earlier ones."""
    from fakesweep.actions.policy import show as run

    run(**asked)


@policy.command("set")
@click.argument("name", shell_complete=completion.policies)
@click.option(
    "--real-below", type=click.FloatRange(0, 1), required=True, help="Scores below it are real."
)
@click.option(
    "--fake-above", type=click.FloatRange(0, 1), required=True, help="Scores above it are fake."
)
@json_option
def set_cuts(**asked: Any) -> None:
    """Set a policy's cut points; scores between them are uncertain.

    They apply to scans started from now on. Earlier verdicts stay until `fakesweep rejudge` judges
    their scores again.
    """
    from fakesweep.actions.policy import set_cuts as run

    run(**asked)
