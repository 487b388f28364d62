"""`fakesweep backup` and `fakesweep restore`: the local stack's rows in a file, and back."""

from pathlib import Path
from typing import Any

import click

_file = click.argument("file", metavar="FILE", type=click.Path(path_type=Path))

_json = click.option(
    "--json", "in_json", is_flag=True, help="Print one JSON object instead of a line."
)


@click.command()
@_file
@_json
def backup(**asked: Any) -> None:
    """Write every row of the local stack into a file.

    As of one moment; scans may go on meanwhile. The file holds the secrets of webhooks, too, and is
    for your eyes alone.
    """
    from fakesweep.actions.backup import backup as run

    run(**asked)


@click.command()
@_file
@click.option("--yes", is_flag=True, help="Do not ask, whatever is there already.")
@_json
def restore(**asked: Any) -> None:
    """Put a backup's rows in the place of the local stack's.

    All or none of them: where anything fails, what was there stays. Rows that are there already are
    lost, so it asks first. Nobody may be at work on the stack.
    """
    from fakesweep.actions.backup import restore as run

    run(**asked)
