"""`fakesweep schedule`: recurring audits."""

from typing import Any

import click

from fakesweep import completion
from fakesweep.exits import Exit
from fakesweep.option_types import Written
from fakesweep.options import judging_options, selection_options

_named = click.argument("name", metavar="NAME", shell_complete=completion.schedules)

_json = click.option(
    "--json", "in_json", is_flag=True, help="Print one JSON object instead of text."
)


def _check_cron(text: str) -> None:
    from fakesweep.producer.schedules.cron import check_cron

    check_cron(text)


def _check_zone(text: str) -> None:
    from fakesweep.producer.schedules.cron import zone_of

    zone_of(text)


@click.group()
def schedule() -> None:
    """Schedule recurring audits."""


@schedule.command()
@click.argument("name", metavar="NAME")
@click.argument(
    "sources", metavar="SOURCE...", nargs=-1, required=True, shell_complete=completion.files
)
@click.option(
    "--cron",
    metavar="EXPRESSION",
    type=Written("expression", _check_cron),
    required=True,
    help="Minute, hour, day of month, month and day of week, such as '0 3 * * 1'.",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    type=Written("zone", _check_zone),
    default="UTC",
    show_default=True,
    help="Time zone of the expression, such as Europe/Berlin.",
)
@judging_options
@click.option(
    "--full", "is_full", is_flag=True, help="Judge every image each time, not only changed ones."
)
@selection_options
@click.option("--no-check", is_flag=True, help="Do not check that the sources can be listed.")
@_json
def add(**asked: Any) -> None:
    """Add a schedule: a producer starts its scan each time it is due.

    SOURCE is as in `fakesweep scan`, except standard input. Folders and local manifests need a
    producer on this machine. Each scan is an audit: it skips images that are unchanged since they
    were judged.
    """
    from fakesweep.actions.schedule import add as run

    run(**asked)


@schedule.command("list")
@_json
def list_schedules(**asked: Any) -> None:
    """List every schedule, and its next time."""
    from fakesweep.actions.schedule import list_schedules as run

    run(**asked)


@schedule.command()
@_named
@_json
def show(**asked: Any) -> None:
    """Show one schedule, and the outcome of its last times."""
    from fakesweep.actions.schedule import show as run

    run(**asked)


@schedule.command()
@_named
@_json
def pause(**asked: Any) -> None:
    """Pause a schedule: it starts no scan until it is resumed.

    A scan under way goes on; `fakesweep pause` holds it.
    """
    from fakesweep.actions.schedule import pause as run

    run(**asked)


@schedule.command()
@_named
@_json
def resume(**asked: Any) -> None:
    """Resume a paused schedule.

    Times missed meanwhile are skipped.
    """
    from fakesweep.actions.schedule import resume as run

    run(**asked)


@schedule.command()
@_named
@_json
def remove(**asked: Any) -> None:
    """Remove a schedule for good.

    Its scans and history stay in the ledger, and its name is free again.
    """
    from fakesweep.actions.schedule import remove as run

    run(**asked)


@schedule.command("run-now")
@_named
@_json
def run_now(**asked: Any) -> Exit:
    """Start a schedule's scan now.

    It is refused while the schedule's last scan is unfinished. The next time stays, and a paused
    schedule stays paused.
    """
    from fakesweep.actions.schedule import run_now as run

    return run(**asked)
