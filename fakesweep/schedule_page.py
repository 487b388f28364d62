"""A schedule as text for people: its page, its times, and their outcomes."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fakesweep.producer.schedules.cron import zone_of
from fakesweep.schema.errors import ScheduleError
from fakesweep.schema.ledger.schedules.reports import RunReport, ScheduleReport
from fakesweep.summary import moment, page_line


def page_of(found: ScheduleReport) -> str:
    """Return a schedule as a page of text, printable throughout."""
    lines = [
        ("schedule", f"{found.name}, {found.state}"),
        *(("source", source) for source in found.sources),
        *(("model", model) for model in found.models),
        ("policy", found.policy),
        ("lane", found.lane),
        ("judges", _judged(found)),
        *(("only", said) for said in _choices(found.selection)),
        ("due", f"{found.cron} in {found.timezone}"),
    ]
    if found.next_at is not None:
        lines.append(("next", when(found.next_at, found.timezone)))
    lines.append(("added", moment(found.created_at)))
    if found.paused_at is not None:
        lines.append(("paused", moment(found.paused_at)))
    return "\n".join(page_line(name, said) for name, said in lines)


def when(time: datetime, timezone: str) -> str:
    """Return a time in a schedule's zone, and in UTC."""
    local = _local_time(time, timezone)
    if local.tzinfo is UTC:
        return f"{local:%a} {moment(time)}"
    return f"{local:%a %Y-%m-%d %H:%M} {timezone} ({moment(time)})"


def briefly(time: datetime, timezone: str) -> str:
    """Return a time in a schedule's zone, with its offset from UTC."""
    return f"{_local_time(time, timezone):%a %Y-%m-%d %H:%M %z}"


def runs_as_rows(runs: Sequence[RunReport], timezone: str) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each time: when it was due, its outcome, its scan, or why it has none."""
    for run in runs:
        outcome = f"{run.outcome} by hand" if run.by_hand else run.outcome
        yield briefly(run.due_at, timezone), outcome, run.scan_id, run.reason


def _local_time(time: datetime, timezone: str) -> datetime:
    try:
        return time.astimezone(zone_of(timezone))
    except ScheduleError:  # this machine knows fewer zones than the producers
        return time.astimezone(UTC)


def _judged(found: ScheduleReport) -> str:
    if found.is_full:
        return "every image"
    return "new and changed images, and those without a current verdict"


def _choices(selection: Mapping[str, Any]) -> Iterator[str]:
    for name, chosen in selection.items():
        match chosen:
            case list():
                yield from (f"{name} {pattern}" for pattern in chosen)
            case True:
                yield name
            case _:
                yield f"{name} {chosen}"
