"""`fakesweep manual`: the manual page, made from the help of every command."""

import click

from fakesweep.manual_page import manual_page


@click.command()
def manual() -> None:
    """Print the manual page, as man reads it.

    It tells what --help tells, of all commands at once.
    """
    from fakesweep.cli import cli

    click.echo(manual_page(cli), nl=False)
