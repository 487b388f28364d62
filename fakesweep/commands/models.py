"""`fakesweep models`: the detectors of the catalogue, and their download."""

from typing import Any

import click

from fakesweep import completion
from fakesweep.output import json_option


@click.group()
def models() -> None:
    """List, show or download models."""


@models.command("list")
@json_option
def list_models(**asked: Any) -> None:
    """List the catalogue's models, and which are on this machine."""
    from fakesweep.actions.models import list_models as run

    run(**asked)


@models.command()
@click.argument("key", shell_complete=completion.models)
@json_option
def show(**asked: Any) -> None:
    """Show one model, and the revisions that workers have loaded."""
    from fakesweep.actions.models import show as run

    run(**asked)


@models.command()
@click.argument("key", shell_complete=completion.models)
@json_option
def pull(**asked: Any) -> None:
    """Download a model into the local cache, for use without the Hub."""
    from fakesweep.actions.models import pull as run

    run(**asked)
