"""`fakesweep up` and `fakesweep down`: the local stack's life."""

from typing import Any

import click

from fakesweep.output import json_option


@click.command()
@click.option(
    "--export",
    "for_shell",
    is_flag=True,
    help="Print lines for a shell that name both servers, with their passwords, as for a cluster.",
)
@json_option
def up(**asked: Any) -> None:
    r"""Start the local stack.

    PostgreSQL and a Redis-protocol server under FAKESWEEP_HOME; safe to start twice.

    \b
    eval "$(fakesweep up --export)"   # scans then use the worker that you keep
    """
    from fakesweep.actions.local import up as run

    run(**asked)


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask, whatever is at work on it.")
@json_option
def down(**asked: Any) -> None:
    """Stop the local stack.

    Its rows stay under FAKESWEEP_HOME. Scans, workers, producers and APIs that are at work on it
    are named, and on a terminal it asks first. They wait, and go on after `fakesweep up`.
    """
    from fakesweep.actions.local import down as run

    run(**asked)
