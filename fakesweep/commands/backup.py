"""`fakesweep backup` and `fakesweep restore`: the local stack's database in a file, and back."""

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
    """Back up the local stack's database into a file.

    The backup is consistent as of one moment, and scans may run meanwhile. It holds the secrets of
    webhooks, so only you can read the file.
    """
    from fakesweep.actions.backup import backup as run

    run(**asked)


@click.command()
@_file
@click.option("--yes", is_flag=True, help="Replace existing rows without asking.")
@_json
def restore(**asked: Any) -> None:
    """Replace the local stack's database by a backup.

    All or nothing: if anything fails, the database stays as it was. It asks before it replaces
    existing scans. Stop every scan, worker, producer and API of the stack first.
    """
    from fakesweep.actions.backup import restore as run

    run(**asked)
