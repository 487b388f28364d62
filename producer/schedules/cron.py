"""Cron times: a five-field expression in a time zone, with the rules of Debian's cron.

cronsim parses the expression and yields wall-clock times. This module converts them to UTC, because
cronsim loses times where a clock changes by half an hour.
"""

import difflib
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from heapq import heappop, heappush
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from fakesweep.schema.errors import ScheduleError

_FIELDS = 5
_ANY_DAY = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall clock has no zone
_LONGEST_REPEAT = timedelta(hours=3)
"""Upper bound of the wall-clock time that one clock change repeats."""

_MINUTE = timedelta(minutes=1)


def check_cron(cron: str) -> None:
    """Refuse a malformed expression, or one without any time.

    Raises:
        ScheduleError: the expression is refused; the message names the field.
    """
    if len(cron.split()) != _FIELDS:
        raise ScheduleError(
            f"cron expression {cron!r} has {len(cron.split())} fields, it needs {_FIELDS}: minute, "
            f"hour, day of the month, month, day of the week, as in '0 3 * * 1'"
        )
    try:
        comes = next(CronSim(cron, _ANY_DAY), None) is not None
    except (CronSimError, ValueError) as error:
        said = str(error) if isinstance(error, CronSimError) else "Bad number"
        raise ScheduleError(
            f"cron expression {cron!r} cannot be used: {said[:1].lower()}{said[1:]}"
        ) from error
    if not comes:
        raise ScheduleError(f"cron expression {cron!r} names a time that never comes")


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name, such as Europe/Berlin; UTC needs no database.

    Raises:
        ScheduleError: the zone is unknown here; the message says what to do.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"time zone {name!r} is not known{_advice(name)}") from error


def times_after(cron: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """Yield the times after `after`, in order and in UTC, without end.

    With fixed hours and minutes, a skipped time fires after the clock change, and a repeated time
    fires once. With a star in hours or minutes, a skipped time is left out, and a repeated time
    fires twice.

    Raises:
        ScheduleError: the expression is malformed.
    """
    check_cron(cron)
    follows_clock = any(field.startswith("*") for field in cron.split()[:2])
    begin = after.astimezone(zone).replace(tzinfo=None) - _LONGEST_REPEAT
    waiting: list[datetime] = []
    last = after
    for wall in CronSim(cron, begin):
        for instant in _instants(wall, zone, follows_clock=follows_clock):
            heappush(waiting, instant)
        while waiting and waiting[0] <= wall.replace(tzinfo=zone).astimezone(UTC):
            instant = heappop(waiting)
            if instant > last:
                last = instant
                yield instant


def next_time(cron: str, zone: tzinfo, after: datetime) -> datetime:
    """Return the first time after `after`, in UTC.

    Raises:
        ScheduleError: the expression is malformed, or has no time.
    """
    for instant in times_after(cron, zone, after):
        return instant
    raise ScheduleError(f"cron expression {cron!r} names a time that never comes")


def times_until(
    cron: str, zone: tzinfo, first: datetime, now: datetime, at_most: int
) -> list[datetime]:
    """Return `first` and the times after it up to `now`, `at_most` in all."""
    later = takewhile(lambda instant: instant <= now, times_after(cron, zone, first))
    return [first, *islice(later, at_most - 1)]


def _instants(wall: datetime, zone: tzinfo, *, follows_clock: bool) -> Iterator[datetime]:
    """Yield the instants, in UTC, of a wall-clock time: none, one or two."""
    if not _is_shown(wall, zone):
        if not follows_clock:
            while not _is_shown(wall, zone):
                wall += _MINUTE
            yield wall.replace(tzinfo=zone).astimezone(UTC)
        return
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    yield first
    if follows_clock and second != first:
        yield second


def _is_shown(wall: datetime, zone: tzinfo) -> bool:
    return wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall


def _advice(name: str) -> str:
    known = zoneinfo.available_timezones()
    if not known:
        return " on this machine, which knows no zones: install tzdata (`pip install tzdata`)"
    folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[near[0]]}?" if near else "; write one as Europe/Berlin or UTC"
