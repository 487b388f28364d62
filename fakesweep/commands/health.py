"""`fakesweep health`: whether the worker or producer of this machine makes progress."""

from typing import Any

import click

from fakesweep.output import json_option
from fakesweep.schema.words import Role


@click.command()
@click.argument("role", type=click.Choice([role.value for role in Role]))
@json_option
def health(**asked: Any) -> int:
    """Say whether a worker or producer here makes progress.

    Made for containers: status 0 where every process of that kind does, or waits for a database or
    broker that is away, else 1. It asks neither of these.
    """
    from fakesweep.actions.health import health as run

    return run(**asked)
