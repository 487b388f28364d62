"""`fakesweep prune`: forget scans that ended long ago."""

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
    help=f"Forget what ended so long ago, as 365d or 6mo, or before a date, as 2026-01-31. "
    f"{UNITS_HELP}",
)
@click.option("--dry-run", is_flag=True, help="Show what would be forgotten, and forget nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a page.")
def prune(**asked: Any) -> Exit:
    """Forget scans that ended long ago.

    Their images go with all that is known of them: verdicts, failures, and the scores of contents
    that no other image has. What later audits saw unchanged stays, and so does the newest audit of
    each archive. Name scans to forget none but these. It can be stopped at any moment and run
    again.
    """
    from fakesweep.actions.prune import prune as run

    return run(**asked)
