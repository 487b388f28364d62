"""`fakesweep status`: how far scans are, what the workers are at, and why nothing moves."""

import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC
from typing import Any
from uuid import UUID

import click
from sqlalchemy import Connection

from fakesweep.costs import Cost, cost_of
from fakesweep.diagnosis import Blocker, blockers_of, missing_of, troubles_in_words
from fakesweep.ledger_access import reading
from fakesweep.output import write_json, write_table
from fakesweep.presence import gone_here
from fakesweep.schema.ledger.batches.deferrals import Troubles, troubles
from fakesweep.schema.ledger.dead_letters import acknowledge_unreadable, unreadable_count
from fakesweep.schema.ledger.registry.model_errors import model_troubles
from fakesweep.schema.ledger.registry.processes import LIVE_SECONDS
from fakesweep.schema.ledger.reports.progress import Progress, recent_scans
from fakesweep.schema.ledger.reports.scan_workers import scan_workers
from fakesweep.schema.ledger.reports.stalls import movement
from fakesweep.schema.ledger.reports.workers import WorkerReport, live_workers
from fakesweep.schema.ledger.scans.names import LAST, find_scan
from fakesweep.schema.settings import Settings, read_settings
from fakesweep.schema.words import ScanState
from fakesweep.summary import (
    Summary,
    as_json,
    as_page,
    identity,
    left_in_words,
    listing,
    page_line,
    progress_as_json,
    rates_in_words,
    read_summary,
)
from fakesweep.text import printable, program, seconds_in_words
from fakesweep.throughput import worker_line

REFRESH_SECONDS = 1.0

COUNTING_SHARE = 10

COLUMNS = ("scan", "name", "state", "submitted", "classified", "reused", "failed", "pending",
           "unchanged", "images/s", "left", "models", "asked for")  # fmt: skip


@dataclass(frozen=True, slots=True)
class StatusView:
    """A scan as it stands, what may work on it, and why nothing of it moves.

    `cost` is None where no price is set. `quarantined` are images of the scan, `unreadable`
    messages of anybody.
    """

    summary: Summary
    cost: Cost | None
    workers: Sequence[WorkerReport]
    waits: Sequence[Blocker]
    quarantined: int
    unreadable: int


def status(*, scan: str | None, in_json: bool, watch: bool, acknowledge: bool) -> None:
    """Show how far a scan is, or every recent scan."""
    settings = read_settings()
    with reading(settings) as connection:
        if acknowledge:
            acknowledge_unreadable(connection)
            connection.commit()
        if watch:
            chosen = find_scan(connection, scan or LAST)
            _watch(_until_it_ends(connection, chosen, settings), in_json=in_json)
        elif scan is None:
            _list_scans(connection, settings, in_json=in_json)
        else:
            look = _look(connection, find_scan(connection, scan), settings)
            if in_json:
                write_json(_look_as_json(look))
            else:
                click.echo(_look_as_page(look))


def _list_scans(connection: Connection, settings: Settings, *, in_json: bool) -> None:
    scans = recent_scans(connection)
    gone = gone_here(connection, settings)
    workers = live_workers(connection, LIVE_SECONDS, gone)
    unreadable = unreadable_count(connection)
    found = troubles(connection)
    if in_json:
        write_json(
            {
                "scans": [progress_as_json(scan) for scan in scans],
                "troubled_batches": found.batches,
                "unreadable_messages": unreadable,
                "workers": _as_json(workers),
            }
        )
        return
    write_table(
        COLUMNS,
        (
            (scan.scan_id, scan.name, scan.state, scan.submitted, scan.classified, scan.reused,
             scan.failed, scan.pending, scan.unchanged if scan.is_audit else None,
             f"{scan.images_per_second:.1f}", _left(scan), " ".join(scan.models),
             f"{scan.created_at.astimezone(UTC):%Y-%m-%d %H:%M}")
            for scan in scans
        ),
    )  # fmt: skip
    lines = [
        *_missed_lines(connection, scans, settings, gone),
        *_trouble_lines(found),
        *_unreadable_lines(unreadable),
        *_worker_lines(workers),
    ]
    if lines:
        click.echo("\n" + "\n".join(lines))


def _missed_lines(
    connection: Connection, scans: Sequence[Progress], settings: Settings, gone: Collection[UUID]
) -> Iterator[str]:
    """Say of each scan that could go on and does not who is missing."""
    for scan in scans:
        if ScanState(scan.state).is_last or scan.paused_at is not None:
            continue
        found = movement(connection, scan.scan_id, within_seconds=LIVE_SECONDS, gone=gone)
        for wait in missing_of(scan, found, settings):
            yield page_line("waiting", f"scan {scan.scan_id}: {wait.said}")


def _left(scan: Progress) -> str | None:
    if scan.seconds_left_so_far is not None:
        return f"{seconds_in_words(scan.seconds_left_so_far)} so far"
    return None if scan.seconds_left is None else seconds_in_words(scan.seconds_left)


def _look(
    connection: Connection, scan_id: int, settings: Settings, counted: Summary | None = None
) -> StatusView:
    summary = read_summary(connection, scan_id, counted)
    gone = gone_here(connection, settings)
    workers = live_workers(connection, LIVE_SECONDS, gone)
    found = movement(connection, scan_id, within_seconds=LIVE_SECONDS, gone=gone)
    unreadable = unreadable_count(connection)
    troubles = model_troubles(connection, summary.progress.models)
    cost = _cost(connection, summary.progress, settings)
    connection.rollback()  # the broker may keep us waiting
    waits = blockers_of(summary.progress, found, settings, troubles)
    if any(wait.reason.is_blocking for wait in waits):
        still = replace(summary.progress, seconds_left=None, seconds_left_so_far=None)
        summary = replace(summary, progress=still)
    return StatusView(summary, cost, workers, waits, found.quarantined, unreadable)


def _cost(connection: Connection, now: Progress, settings: Settings) -> Cost | None:
    if settings.worker_hour_price is None:
        return None
    return cost_of(now, scan_workers(connection, now, within_seconds=LIVE_SECONDS), settings)


def _until_it_ends(
    connection: Connection, scan_id: int, settings: Settings
) -> Iterator[StatusView]:
    """Look again and again; verdicts are counted anew in a tenth of the time at most."""
    counted: Summary | None = None
    count_at = 0.0
    while True:
        begun = time.monotonic()
        look = _look(connection, scan_id, settings, counted if begun < count_at else None)
        if begun >= count_at:
            counted = look.summary
            count_at = begun + COUNTING_SHARE * (time.monotonic() - begun)
        elif _has_ended(look):
            look = _look(connection, scan_id, settings)
        yield look
        if _has_ended(look):
            return
        time.sleep(REFRESH_SECONDS)


def _watch(looks: Iterator[StatusView], *, in_json: bool) -> None:
    if sys.stdout.isatty() and not in_json:
        from fakesweep import terminal  # noqa: PLC0415 - rich is loaded for terminals only

        terminal.show_refreshed(_look_as_page(look) for look in looks)
        return
    before: tuple[object, ...] = ()
    for look in looks:
        now = look.summary.progress
        counts = (now.state, identity(now), now.unchanged, *look.waits)
        if counts == before:
            continue
        before = counts
        if in_json:
            write_json(_look_as_json(look))
        else:
            click.echo(_look_in_words(look))
        sys.stdout.flush()


def _look_in_words(look: StatusView) -> str:
    """Return a scan in one line: its counts, how fast it is, what that costs, what it waits for."""
    now = look.summary.progress
    words = [f"scan {now.scan_id} {now.state}: {identity(now)}"]
    if now.is_audit:
        words.append(listing(now))
    words.append(rates_in_words(now))
    if left := left_in_words(now):
        words.append(f"{left} left")
    if look.cost is not None and (cost := look.cost.said()):
        words.append(cost)
    words += (f"waiting: {wait.said}" for wait in look.waits)
    return printable("; ".join(words))


def _look_as_page(look: StatusView) -> str:
    """Return a scan's page; until it has ended, with what is in its way, and the workers."""
    lines = [as_page(look.summary)]
    if look.cost is not None and (cost := look.cost.said()):
        lines.append(page_line("cost", cost))
    if not _has_ended(look):
        lines += (page_line("waiting", wait.said) for wait in look.waits)
        if look.quarantined:
            what = "1 image runs" if look.quarantined == 1 else f"{look.quarantined} images run"
            lines.append(page_line("quarantine", f"{what} alone"))
        lines += _worker_lines(look.workers)
    return "\n".join(lines)


def _look_as_json(look: StatusView) -> dict[str, Any]:
    return as_json(look.summary) | {
        "cost": look.cost and asdict(look.cost),
        "waiting": [wait.reason for wait in look.waits],
        "quarantined": look.quarantined,
        "unreadable_messages": look.unreadable,
        "workers": _as_json(look.workers),
    }


def _has_ended(look: StatusView) -> bool:
    return ScanState(look.summary.progress.state).is_last


def _as_json(workers: Sequence[WorkerReport]) -> list[dict[str, Any]]:
    return [asdict(worker) for worker in workers]


def _worker_lines(workers: Sequence[WorkerReport]) -> Iterator[str]:
    return (page_line("worker", worker_line(worker)) for worker in workers)


def _trouble_lines(found: Troubles) -> Iterator[str]:
    if found.batches:
        yield page_line("set aside", troubles_in_words(found.batches, found.reason))


def _unreadable_lines(messages: int) -> Iterator[str]:
    if messages:
        query = "SELECT * FROM unreadable_messages WHERE acknowledged_at IS NULL"
        what = "1 message was" if messages == 1 else f"{messages} messages were"
        said = (
            f'{what} put aside as unreadable; look: {program()} sql "{query}", '
            f"then: {program()} status --acknowledge"
        )
        yield page_line("unreadable", said)
