"""`fakesweep completion`: commands, scans, models and other names completed by the shell."""

from typing import Any

import click

from fakesweep.option_types import SHELLS

_shell = click.argument("shell", required=False, type=click.Choice(SHELLS))


@click.group()
def completion() -> None:
    """Have the shell complete commands, scans, models and more."""


@completion.command()
@_shell
def show(**asked: Any) -> None:
    """Print the script that a shell completes by.

    Without SHELL it is the one of $SHELL.
    """
    from fakesweep.actions.completion import show as run

    run(**asked)


@completion.command()
@_shell
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a line.")
def install(**asked: Any) -> None:
    """Have a shell complete from its next start on; safe to repeat.

    Without SHELL it is the one of $SHELL. For fish, the script is put into its folder of
    completions. For bash and zsh, it is put below ~/.local/share/fakesweep, and a line that reads
    it is added to ~/.bashrc or ~/.zshrc.
    """
    from fakesweep.actions.completion import install as run

    run(**asked)
