"""`fakesweep prune`: delete old scans."""

from typing import Any

import click

from fakesweep import completion
from fakesweep.age_options import UNITS_HELP, MomentOption
from fakesweep.exits import Exit


@click.command()
@click.argument("scans", metavar="[SCAN]...", nargs=-1, shell_complete=completion.scans)
@click.option(
    "--older-than",
    metavar="AGE|DATE",
    type=MomentOption(),
    required=True,
    help=f"Delete scans that ended earlier: an age, such as 365d or 6mo, or a date, such as "
    f"2026-01-31. {UNITS_HELP}",
)
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a page.")
def prune(**asked: Any) -> Exit:
    """Delete old scans.

    Their images are deleted with verdicts, failures, and the scores of contents that no other image
    has. Images that later audits saw unchanged stay, and so does the newest audit of each archive.
    SCAN limits it to the scans named. It can be stopped at any moment and run again.
    """
    from fakesweep.actions.prune import prune as run

    return run(**asked)
