"""`fakesweep manual`: the manual page, made from the help of every command."""

import click

from fakesweep.manual_page import manual_page


@click.command()
def manual() -> None:
    """Print the manual page for man.

    It holds the help of all commands.
    """
    from fakesweep.cli import cli

    click.echo(manual_page(cli), nl=False)
