"""`fakesweep up` and `fakesweep down`: starting and stopping the local stack."""

import shlex
import sys

import click

from fakesweep.output import write_json
from fakesweep.schema.broker import shown
from fakesweep.schema.ledger.connection import display_url
from fakesweep.schema.settings import PREFIX, read_settings
from fakesweep.stack import stack_uses, start_stack, stop_stack
from fakesweep.text import is_terminal, program


def up(*, for_shell: bool, in_json: bool) -> None:
    """Start the local stack."""
    settings = read_settings()
    stack = start_stack(settings)
    if for_shell:
        for name, url in (("DATABASE", stack.database_url), ("BROKER", stack.broker_url)):
            click.echo(f"export {PREFIX}{name}_URL={shlex.quote(url or '')}")
        click.echo(f"export {PREFIX}FILE_ROOTS=/")  # as the local stack's own workers have it
        return
    database = settings.database_url and display_url(settings.database_url)
    broker = settings.broker_url and shown(settings.broker_url)
    if in_json:
        said = {"database": database or stack.database_url, "broker": broker or stack.broker_url}
        write_json(said | {"home": str(stack.home)})
        return
    click.echo(f"PostgreSQL  {database or stack.database_url}")
    click.echo(f"broker      {broker or stack.broker_url}")
    click.echo(f"home        {stack.home}")


def down(*, yes: bool, in_json: bool) -> None:
    """Stop the local stack."""
    settings = read_settings()
    if uses := stack_uses(settings):
        at_work = ", ".join(map(str, uses))
        click.echo(
            f"fakesweep: at work on the local stack: {at_work}; they wait until {program()} up",
            err=True,
        )
        if not yes and is_terminal(sys.stdin):
            click.confirm("Stop it anyway?", abort=True, err=True)
    stopped = stop_stack(settings)
    if in_json:
        write_json({"stopped": stopped, "at_work": [str(use) for use in uses]})
        return
    click.echo(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
