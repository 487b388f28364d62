"""`fakesweep up` and `fakesweep down`: starting and stopping the local stack."""

from typing import Any

import click

from fakesweep.output import json_option


@click.command()
@click.option(
    "--export",
    "for_shell",
    is_flag=True,
    help="Print shell lines that export both servers' URLs, passwords included.",
)
@json_option
def up(**asked: Any) -> None:
    """Start the local stack.

    That is PostgreSQL and a Redis-protocol server, with their files under FAKESWEEP_HOME; safe to
    repeat. After `--export`, scans of the shell use the workers that you run.
    """
    from fakesweep.actions.local import up as run

    run(**asked)


@click.command()
@click.option("--yes", is_flag=True, help="Stop it without asking, even while it is in use.")
@json_option
def down(**asked: Any) -> None:
    """Stop the local stack.

    Its database stays under FAKESWEEP_HOME. Scans, workers, producers and APIs that use it are
    listed, and on a terminal it asks first. They wait, and go on after `fakesweep up`.
    """
    from fakesweep.actions.local import down as run

    run(**asked)
