"""`fakesweep completion`: shell completion of commands, scans, models and other names."""

from typing import Any

import click

from fakesweep.option_types import SHELLS

_shell = click.argument("shell", required=False, type=click.Choice(SHELLS))


@click.group()
def completion() -> None:
    """Set up shell completion."""


@completion.command()
@_shell
def show(**asked: Any) -> None:
    """Print the completion script of a shell.

    SHELL defaults to the shell in $SHELL.
    """
    from fakesweep.actions.completion import show as run

    run(**asked)


@completion.command()
@_shell
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a line.")
def install(**asked: Any) -> None:
    """Install completion for a shell; safe to repeat.

    SHELL defaults to the shell in $SHELL. fish gets the script in its folder of completions. bash
    and zsh get it below ~/.local/share/fakesweep, and a line in ~/.bashrc or ~/.zshrc that reads
    it. It takes effect in new shells.
    """
    from fakesweep.actions.completion import install as run

    run(**asked)
