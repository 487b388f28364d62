"""`fakesweep up` and `fakesweep down`: the local stack's life."""

import click

from fakesweep.stack import start_stack, stop_stack
from schema.settings import read_settings


@click.command()
def up() -> None:
    """Start the local stack.

    PostgreSQL and a Redis-protocol server under FAKESWEEP_HOME; safe to start twice.
    """
    stack = start_stack(read_settings())
    click.echo(f"PostgreSQL  {stack.database_url}")
    click.echo(f"broker      {stack.broker_url}")
    click.echo(f"home        {stack.home}")


@click.command()
def down() -> None:
    """Stop the local stack.

    Its rows stay under FAKESWEEP_HOME.
    """
    stopped = stop_stack(read_settings())
    click.echo(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
