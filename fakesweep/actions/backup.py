"""`fakesweep backup` and `fakesweep restore`: the local stack's database in a file, and back."""

import sys
from pathlib import Path

import click

from fakesweep.ledger_access import connected, ledger_url
from fakesweep.output import write_json
from fakesweep.schema.errors import StackError
from fakesweep.schema.ledger.reports.progress import recent_scans
from fakesweep.schema.settings import read_settings
from fakesweep.stack import archive, stack_uses, start_database
from fakesweep.text import is_terminal


def backup(file: Path, *, in_json: bool) -> None:
    """Back up the local stack's database into a file."""
    settings = read_settings()
    size = archive.back_up(settings, ledger_url(settings), file)
    if in_json:
        write_json({"file": str(file), "bytes": size})
        return
    click.echo(f"{file} holds the ledger, {size} bytes; `fakesweep restore` takes it back")


def restore(file: Path, *, yes: bool, in_json: bool) -> None:
    """Replace the local stack's database by a backup."""
    settings = read_settings()
    archive.check_backup(settings, file)
    if uses := stack_uses(settings):
        raise StackError(f"stop what is at work first: {', '.join(map(str, uses))}")
    with connected(start_database(settings), "command") as connection:
        is_used = bool(recent_scans(connection, limit=1))
    if is_used and not yes:
        if not is_terminal(sys.stdin):
            raise StackError(
                f"{settings.home} holds scans, which a restore replaces, and there is no terminal "
                f"to ask on: `fakesweep backup` them, then say --yes"
            )
        click.confirm(f"Replace every row in {settings.home}?", abort=True, err=True)
    archive.restore(settings, file)
    if in_json:
        write_json({"file": str(file), "home": str(settings.home)})
        return
    click.echo(f"{settings.home} holds the rows of {file}")
