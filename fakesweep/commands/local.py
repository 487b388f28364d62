"""`fakesweep up` and `fakesweep down`: the local stack's life."""

import sys

import click

from fakesweep.stack import stack_uses, start_stack, stop_stack
from fakesweep.text import is_terminal, program
from schema.broker import shown
from schema.database import display_url
from schema.settings import read_settings


@click.command()
def up() -> None:
    """Start the local stack.

    PostgreSQL and a Redis-protocol server under FAKESWEEP_HOME; safe to start twice.
    """
    settings = read_settings()
    stack = start_stack(settings)
    database = settings.database_url and display_url(settings.database_url)
    broker = settings.broker_url and shown(settings.broker_url)
    click.echo(f"PostgreSQL  {database or stack.database_url}")
    click.echo(f"broker      {broker or stack.broker_url}")
    click.echo(f"home        {stack.home}")


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask, whatever is at work on it.")
def down(*, yes: bool) -> None:
    """Stop the local stack.

    Its rows stay under FAKESWEEP_HOME. Scans, workers, producers and APIs that are at work on it
    are named, and on a terminal it asks first. They wait, and go on after `fakesweep up`.
    """
    settings = read_settings()
    if uses := stack_uses(settings):
        at_work = ", ".join(map(str, uses))
        click.echo(
            f"fakesweep: at work on the local stack: {at_work}; they wait until {program()} up",
            err=True,
        )
        if not yes and is_terminal(sys.stdin):
            click.confirm("Stop it under them?", abort=True, err=True)
    stopped = stop_stack(settings)
    click.echo(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
