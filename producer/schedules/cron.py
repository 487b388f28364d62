"""Times by a cron expression in a zone: five fields, by the wall clock, as Debian's cron has them.

cronsim reads the expression and walks the wall clock; what the wall clock's times mean where clocks
are changed is said here, since cronsim's own answer loses times where they change by half an hour.
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
"""No change of clocks repeats more of the wall clock's time than this."""

_MINUTE = timedelta(minutes=1)


def check_cron(cron: str) -> None:
    """Refuse an expression that says nothing, or only times that never come.

    Raises:
        ScheduleError: the message says which field is wrong.
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
    """Return the zone of a name as Europe/Berlin; UTC is known everywhere.

    Raises:
        ScheduleError: the zone is not known here; the message says what to do.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"time zone {name!r} is not known{_advice(name)}") from error


def times_after(cron: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """Yield the times behind `after`, in order and in UTC, without end.

    An expression of fixed hours and minutes means one time a day each: what the clocks pass over
    comes when they have, what they repeat comes the first time. One whose minutes or hours begin
    with a star follows the wall clock: what is passed over is left out, what is repeated comes
    twice.

    Raises:
        ScheduleError: the expression says nothing.
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
    """Return the first time behind `after`, in UTC.

    Raises:
        ScheduleError: the expression says nothing, or only times that never come.
    """
    for instant in times_after(cron, zone, after):
        return instant
    raise ScheduleError(f"cron expression {cron!r} names a time that never comes")


def times_until(
    cron: str, zone: tzinfo, first: datetime, now: datetime, at_most: int
) -> list[datetime]:
    """Return `first` and the times behind it up to `now`, at most so many of them."""
    later = takewhile(lambda instant: instant <= now, times_after(cron, zone, first))
    return [first, *islice(later, at_most - 1)]


def _instants(wall: datetime, zone: tzinfo, *, follows_clock: bool) -> Iterator[datetime]:
    """Yield the moments at which the wall clock shows a time: none, one or two."""
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
