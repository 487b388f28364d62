"""`fakesweep models`: what can be asked for by name, and fetching it."""

from typing import Any

import click

from fakesweep import completion
from fakesweep.output import json_option


@click.group()
def models() -> None:
    """List, show or fetch models."""


@models.command("list")
@json_option
def list_models(**asked: Any) -> None:
    """List every model known by name, and whether its checkpoint is on this machine."""
    from fakesweep.actions.models import list_models as run

    run(**asked)


@models.command()
@click.argument("key", shell_complete=completion.models)
@json_option
def show(**asked: Any) -> None:
    """Show one model, and the revisions of it that workers have loaded."""
    from fakesweep.actions.models import show as run

    run(**asked)


@models.command()
@click.argument("key", shell_complete=completion.models)
@json_option
def pull(**asked: Any) -> None:
    """Fetch a model into the local cache, for machines that cannot reach the Hub."""
    from fakesweep.actions.models import pull as run

    run(**asked)
