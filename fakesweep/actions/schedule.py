"""`fakesweep schedule`: recurring audits."""

import shlex
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
from sqlalchemy import Connection

from fakesweep.exits import Exit
from fakesweep.foreground.finish import leave_to_others
from fakesweep.ledger_access import connected, existing_stack, made_ledger_url, reading
from fakesweep.logging_setup import log_troubles
from fakesweep.model_choice import chosen_models
from fakesweep.options import selection_from
from fakesweep.output import write_json, write_table
from fakesweep.producer.resources import open_producer
from fakesweep.producer.scans import ScanRequest
from fakesweep.producer.schedules import firing
from fakesweep.schedule_page import briefly, page_of, runs_as_rows, when
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.schedules.reports import (
    ScheduleState,
    runs_of,
    schedule_report,
    schedule_reports,
)
from fakesweep.schema.ledger.schedules.schedules import pause_schedule, remove_schedule
from fakesweep.schema.settings import read_settings
from fakesweep.schema.words import Lane
from fakesweep.text import printable, program

SHOWN_RUNS = 20


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
    """Add a schedule: a producer starts its scan each time it is due."""
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
        next_at = firing.add_schedule(
            connection, settings, catalogue, request,
            cron=cron, timezone=timezone, check_sources=not no_check,
        )  # fmt: skip
        connection.commit()
        if in_json:
            _write_report(connection, name)
            return
    click.echo(f"schedule {name} is added; it is due next on {when(next_at, timezone)}")
    if is_local:
        click.echo(f"its scans start only while this runs: {program()} producer")


def list_schedules(*, in_json: bool) -> None:
    """List every schedule, and its next time."""
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


def show(*, name: str, in_json: bool) -> None:
    """Show one schedule, and the outcome of its last times."""
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


def pause(*, name: str, in_json: bool) -> None:
    """Pause a schedule: it starts no scan until it is resumed."""
    with reading(read_settings()) as connection:
        is_new = pause_schedule(connection, name)
        connection.commit()
        if in_json:
            _write_report(connection, name)
            return
    click.echo(printable(f"schedule {name} {'is' if is_new else 'was already'} paused"))
    click.echo(f"go on with it: {program()} schedule resume {shlex.quote(name)}")


def resume(*, name: str, in_json: bool) -> None:
    """Resume a paused schedule."""
    with reading(read_settings()) as connection:
        resumed = firing.resume(connection, name)
        connection.commit()
        found = schedule_report(connection, name)
        if in_json:
            _write_report(connection, name)
            return
    said = "was not paused" if resumed is None else "goes on"
    click.echo(printable(f"schedule {name} {said}; {_due(found.next_at, found.timezone)}"))


def remove(*, name: str, in_json: bool) -> None:
    """Remove a schedule for good."""
    with reading(read_settings()) as connection:
        remove_schedule(connection, name)
        connection.commit()
    if in_json:
        write_json({"name": name, "state": ScheduleState.REMOVED})
        return
    click.echo(printable(f"schedule {name} is removed"))


def run_now(*, name: str, in_json: bool) -> Exit:
    """Start a schedule's scan now."""
    settings = read_settings()
    log_troubles(settings)
    catalogue = read_catalogue(settings.catalogue)
    on_cluster = settings.names_cluster
    if not on_cluster:
        settings = existing_stack(settings)
    with open_producer(settings, catalogue) as producer:
        with producer.engine.begin() as connection:
            scan_id = firing.run_now(connection, producer, name)
        with connected(settings.database_url or "", "command") as connection:
            return leave_to_others(connection, scan_id, in_json=in_json, on_cluster=on_cluster)


def _due(next_at: datetime | None, timezone: str) -> str:
    return "it is paused" if next_at is None else f"it is due next on {when(next_at, timezone)}"


def _write_report(connection: Connection, name: str) -> None:
    found = schedule_report(connection, name)
    runs = runs_of(connection, found.schedule_id, SHOWN_RUNS)
    write_json(asdict(found) | {"runs": [asdict(run) for run in runs]})
