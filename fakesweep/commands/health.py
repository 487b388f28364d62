"""`fakesweep health`: liveness of this machine's workers or producers, by their heartbeats."""

from typing import Any

import click

from fakesweep.output import json_option
from fakesweep.schema.words import Role


@click.command()
@click.argument("role", type=click.Choice([role.value for role in Role]))
@json_option
def health(**asked: Any) -> int:
    """Check whether a worker or producer here makes progress.

    A health check for containers. The exit status is 0 if each such process of this user makes
    progress, or waits for a database or broker that is away; else 1. It reads heartbeats alone and
    connects to no server.
    """
    from fakesweep.actions.health import health as run

    return run(**asked)
