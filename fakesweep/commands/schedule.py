"""`fakesweep schedule`: have sources audited by the clock."""

import shlex
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
from sqlalchemy import Connection

from fakesweep import completing
from fakesweep.choices import chosen_models, judging_options, selection_from, selection_options
from fakesweep.ending import leave_to_others
from fakesweep.exits import Exit
from fakesweep.output import write_json, write_table
from fakesweep.planning import briefly, page_of, runs_as_rows, when
from fakesweep.quiet import log_troubles
from fakesweep.reading import connected, existing_stack, made_ledger_url, reading
from fakesweep.text import printable, program
from fakesweep.written import Written
from producer import schedules
from producer.cron import check_cron, zone_of
from producer.scans import ScanRequest, open_producer
from schema.catalogue import read_catalogue
from schema.schedule_reports import ScheduleState, runs_of, schedule_report, schedule_reports
from schema.schedules import pause_schedule, remove_schedule
from schema.settings import read_settings
from schema.words import Lane

SHOWN_RUNS = 20

_named = click.argument("name", metavar="NAME", shell_complete=completing.schedules)
_json = click.option(
    "--json", "in_json", is_flag=True, help="Print one JSON object instead of text."
)


@click.group()
def schedule() -> None:
    """Have sources audited by the clock."""


@schedule.command()
@click.argument("name", metavar="NAME")
@click.argument(
    "sources", metavar="SOURCE...", nargs=-1, required=True, shell_complete=completing.files
)
@click.option(
    "--cron",
    metavar="EXPRESSION",
    type=Written("expression", check_cron),
    required=True,
    help="Minute, hour, day of the month, month and day of the week, as '0 3 * * 1'.",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    type=Written("zone", zone_of),
    default="UTC",
    show_default=True,
    help="Whose clock, as Europe/Berlin.",
)
@judging_options
@click.option(
    "--full", "is_full", is_flag=True, help="Look at every image each time, not at changes alone."
)
@selection_options
@click.option("--no-check", is_flag=True, help="Do not look whether the sources can be listed.")
@_json
def add(
    *,
    name: str,
    sources: tuple[str, ...],
    cron: str,
    timezone: str,
    models: tuple[str, ...],
    lane: str,
    policy: str,
    is_full: bool,
    no_check: bool,
    in_json: bool,
    **chosen: Any,
) -> None:
    """Add a schedule: a producer asks for its scan each time it is due.

    SOURCE is what `fakesweep scan` takes, but for standard input. Folders and local manifests are
    listed by the producer on this machine. Each scan is an audit: it passes over images that stand
    as they were last judged.
    """
    settings = read_settings()
    log_troubles(settings)
    catalogue = read_catalogue(settings.catalogue)
    request = ScanRequest(
        sources,
        chosen_models(models, settings),
        Lane(lane),
        policy,
        name,
        is_audit=not is_full,
        selection=selection_from(**chosen),
    )
    is_local = settings.database_url is None
    with connected(made_ledger_url(settings), "command") as connection:
        next_at = schedules.add_schedule(
            connection, settings, catalogue, request,
            cron=cron, timezone=timezone, check_sources=not no_check,
        )  # fmt: skip
        connection.commit()
        if in_json:
            _write_report(connection, name)
            return
    click.echo(f"schedule {name} is added; it is due next on {when(next_at, timezone)}")
    if is_local:
        click.echo(f"its scans are made while this runs: {program()} producer")


@schedule.command("list")
@_json
def list_schedules(*, in_json: bool) -> None:
    """List every schedule, and when it is due next."""
    with reading(read_settings()) as connection:
        found = schedule_reports(connection)
    if in_json:
        write_json({"schedules": [asdict(one) for one in found]})
        return
    write_table(
        ("name", "state", "cron", "timezone", "next", "last", "scan"),
        (
            (
                one.name,
                one.state,
                one.cron,
                one.timezone,
                "" if one.next_at is None else briefly(one.next_at, one.timezone),
                one.last_outcome,
                one.last_scan_id,
            )
            for one in found
        ),
    )


@schedule.command()
@_named
@_json
def show(*, name: str, in_json: bool) -> None:
    """Show one schedule, and what became of its last times."""
    with reading(read_settings()) as connection:
        if in_json:
            _write_report(connection, name)
            return
        found = schedule_report(connection, name)
        runs = runs_of(connection, found.schedule_id, SHOWN_RUNS)
    click.echo(page_of(found))
    if runs:
        click.echo()
        write_table(("due", "outcome", "scan", "why"), runs_as_rows(runs, found.timezone))


@schedule.command()
@_named
@_json
def pause(*, name: str, in_json: bool) -> None:
    """Make no scan of a schedule until it is resumed.

    A scan that it made already goes on; `fakesweep pause` holds that.
    """
    with reading(read_settings()) as connection:
        is_new = pause_schedule(connection, name)
        connection.commit()
        if in_json:
            _write_report(connection, name)
            return
    click.echo(printable(f"schedule {name} {'is' if is_new else 'was already'} paused"))
    click.echo(f"go on with it: {program()} schedule resume {shlex.quote(name)}")


@schedule.command()
@_named
@_json
def resume(*, name: str, in_json: bool) -> None:
    """Go on with a paused schedule.

    Times that went by meanwhile are not made up for.
    """
    with reading(read_settings()) as connection:
        resumed = schedules.resume(connection, name)
        connection.commit()
        found = schedule_report(connection, name)
        if in_json:
            _write_report(connection, name)
            return
    said = "was not paused" if resumed is None else "goes on"
    click.echo(printable(f"schedule {name} {said}; {_due(found.next_at, found.timezone)}"))


@schedule.command()
@_named
@_json
def remove(*, name: str, in_json: bool) -> None:
    """Remove a schedule for good.

    Its scans and what became of its times stay in the ledger, and its name is free again.
    """
    with reading(read_settings()) as connection:
        remove_schedule(connection, name)
        connection.commit()
    if in_json:
        write_json({"name": name, "state": ScheduleState.REMOVED})
        return
    click.echo(printable(f"schedule {name} is removed"))


@schedule.command("run-now")
@_named
@_json
def run_now(*, name: str, in_json: bool) -> Exit:
    """Make a scan of a schedule at once.

    It is refused while the last one is unfinished. The next time stays as it is, and a paused
    schedule stays paused.
    """
    settings = read_settings()
    log_troubles(settings)
    catalogue = read_catalogue(settings.catalogue)
    on_cluster = settings.names_cluster
    if not on_cluster:
        settings = existing_stack(settings)
    with open_producer(settings, catalogue) as producer:
        with producer.engine.begin() as connection:
            scan_id = schedules.run_now(connection, producer, name)
        with connected(settings.database_url or "", "command") as connection:
            return leave_to_others(connection, scan_id, in_json=in_json, on_cluster=on_cluster)


def _due(next_at: datetime | None, timezone: str) -> str:
    return "it is paused" if next_at is None else f"it is due next on {when(next_at, timezone)}"


def _write_report(connection: Connection, name: str) -> None:
    found = schedule_report(connection, name)
    runs = runs_of(connection, found.schedule_id, SHOWN_RUNS)
    write_json(asdict(found) | {"runs": [asdict(run) for run in runs]})
