"""Durations as people write them: one grammar for every option."""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fakesweep.schema.errors import SourceError

UNITS = "min, h, d, w, mo (months) or y"
"""The units of a duration, each unambiguous to every reader."""

_AGE = re.compile(r"(\d{1,6})(min|h|d|w|mo|y)", re.ASCII)
_FIXED = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MONTHS = {"mo": 1, "y": 12}
_LIKE_AN_AGE = re.compile(r"\d+\s*[a-zA-Z]*", re.ASCII)
_RECORDED_MINUTES = re.compile(r"(\d{1,6})m", re.ASCII)


@dataclass(frozen=True, slots=True)
class Age:
    """A duration: calendar months, or a fixed one."""

    months: int = 0
    fixed: timedelta = timedelta()

    def before(self, moment: datetime) -> datetime:
        """Return the moment a duration earlier; the last day of a month where it lacks that day.

        Raises:
            SourceError: there is no such moment.
        """
        return self._moved(moment, -1)

    def after(self, moment: datetime) -> datetime:
        """Return the moment a duration later.

        Raises:
            SourceError: there is no such moment.
        """
        return self._moved(moment, 1)

    def _moved(self, moment: datetime, way: int) -> datetime:
        try:
            year, month = divmod(moment.year * 12 + moment.month - 1 + way * self.months, 12)
            last = calendar.monthrange(year, month + 1)[1]
            moved = moment.replace(year=year, month=month + 1, day=min(moment.day, last))
            return moved + way * self.fixed
        except (OverflowError, ValueError) as error:
            raise SourceError("the time leaves the calendar; write a shorter one") from error


def age_of(written: str) -> Age:
    """Parse a duration such as `90min`, `12h`, `7d`, `8w`, `6mo` or `2y`.

    Raises:
        SourceError: it is none; a bare `m` is refused, as it may mean minutes or months.
    """
    said = written.strip().lower()
    match = _AGE.fullmatch(said)
    if match is not None:
        count, unit = int(match[1]), match[2]
        if unit in _MONTHS:
            return Age(months=count * _MONTHS[unit])
        return Age(fixed=timedelta(**{_FIXED[unit]: count}))
    if _RECORDED_MINUTES.fullmatch(said):
        raise SourceError(f"{written!r} may mean minutes or months; write {said}in or {said}o")
    raise SourceError(f"{written!r} is no length of time; its unit is one of {UNITS}")


def moment_of(written: str, asked_at: datetime) -> datetime:
    """Return the moment of a date (UTC where it names no zone) or of an age.

    Raises:
        SourceError: it is neither.
    """
    said = written.strip()
    try:
        moment = datetime.fromisoformat(said)
    except ValueError as error:
        if _LIKE_AN_AGE.fullmatch(said):
            return age_of(said).before(asked_at)
        raise SourceError(
            f"{written!r} is neither a date, as 2026-01-31, nor an age, as 7d or 6mo; the unit of "
            f"an age is one of {UNITS}"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def recorded_moment(written: str, asked_at: datetime) -> datetime:
    """Return the moment of a text in the ledger, where `m` still means minutes.

    Raises:
        SourceError: it is neither a date nor an age.
    """
    if match := _RECORDED_MINUTES.fullmatch(written.strip().lower()):
        return asked_at - timedelta(minutes=int(match[1]))
    return moment_of(written, asked_at)
