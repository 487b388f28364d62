"""Cron times by the wall clock of a zone, clock changes included."""

import zoneinfo
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from fakesweep.producer.schedules.cron import (
    check_cron,
    next_time,
    times_after,
    times_until,
    zone_of,
)
from fakesweep.schema.errors import ScheduleError

MINUTE = timedelta(minutes=1)
CHANGES = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),  # by half an hour
    "Africa/Cairo": ("2026-04-24", "2026-10-30"),  # at midnight
    "Antarctica/Troll": ("2026-03-29", "2026-10-25"),  # by two hours
    "UTC": ("2026-01-01", "2026-12-31"),
}


def due(cron: str, zone: str, day: str, count: int) -> list[str]:
    """Return the first times from a day on, by the zone's clock."""
    tz = ZoneInfo(zone)
    before = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=tz) - MINUTE
    times = islice(times_after(cron, tz, before), count)
    return [f"{time.astimezone(tz):%d %H:%M%z}" for time in times]


@pytest.mark.parametrize(
    ("cron", "zone", "day", "expected"),
    [
        # Clocks go from 02:00 to 03:00: a fixed time in between comes when they have.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28",
         ["28 02:30+0100", "29 03:00+0200", "30 02:30+0200"]),
        ("0 2,3 * * *", "Europe/Berlin", "2026-03-29",
         ["29 03:00+0200", "30 02:00+0200", "30 03:00+0200"]),
        ("0 3 * * 0", "Europe/Berlin", "2026-03-29", ["29 03:00+0200", "05 03:00+0200"]),
        ("30 2 * * *", "America/New_York", "2026-03-08", ["08 03:00-0400", "09 02:30-0400"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", ["04 02:30+1100", "05 02:15+1100"]),
        ("30 0 * * *", "Africa/Cairo", "2026-04-24", ["24 01:00+0300", "25 00:30+0300"]),
        # Clocks go from 03:00 back to 02:00: a fixed time in between comes once, the first time.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", ["25 02:30+0200", "26 02:30+0100"]),
        ("0 3 * * *", "Europe/Berlin", "2026-10-25", ["25 03:00+0100", "26 03:00+0100"]),
        ("30 1 * * *", "America/New_York", "2026-11-01", ["01 01:30-0400", "02 01:30-0500"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", ["05 01:45+1100", "06 01:45+1030"]),
        # With a star the wall clock is followed: nothing in between, or twice.
        ("30 * * * *", "Europe/Berlin", "2026-03-29",
         ["29 00:30+0100", "29 01:30+0100", "29 03:30+0200", "29 04:30+0200"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-28",
         ["28 02:00+0100", "28 02:30+0100", "30 02:00+0200", "30 02:30+0200"]),
        ("30 * * * *", "Europe/Berlin", "2026-10-25",
         ["25 00:30+0200", "25 01:30+0200", "25 02:30+0200", "25 02:30+0100", "25 03:30+0100"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-10-25",
         ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100", "26 02:00+0100"]),
        ("15 * * * *", "America/New_York", "2026-03-08",
         ["08 00:15-0500", "08 01:15-0500", "08 03:15-0400"]),
        ("15 */1 * * *", "America/New_York", "2026-11-01",
         ["01 00:15-0400", "01 01:15-0400", "01 01:15-0500", "01 02:15-0500"]),
        ("*/15 2 * * *", "Australia/Lord_Howe", "2026-10-04",
         ["04 02:30+1100", "04 02:45+1100", "05 02:00+1100"]),
        ("45 * * * *", "Australia/Lord_Howe", "2026-04-05",
         ["05 00:45+1100", "05 01:45+1100", "05 01:45+1030", "05 02:45+1030"]),
        ("*/15 3 * * *", "Australia/Lord_Howe", "2026-04-05",
         ["05 03:00+1030", "05 03:15+1030", "05 03:30+1030", "05 03:45+1030", "06 03:00+1030"]),
        ("0 * * * *", "Australia/Lord_Howe", "2026-04-05",
         ["05 00:00+1100", "05 01:00+1100", "05 02:00+1030", "05 03:00+1030"]),
    ],
)  # fmt: skip
def test_times_where_clocks_change(cron: str, zone: str, day: str, expected: list[str]) -> None:
    assert due(cron, zone, day, len(expected)) == expected


def test_an_hour_that_comes_twice_never_leads_back() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    in_second_hour = datetime(2026, 10, 25, 1, 5, tzinfo=UTC)  # 02:05 for the second time
    found = next_time("0,30 2 * * *", berlin, in_second_hour)
    assert found == datetime(2026, 10, 26, 1, 0, tzinfo=UTC)


FIELDS = (
    some.sampled_from(["*", "0", "30", "15,45", "*/20", "59", "0-10/5"]),
    some.sampled_from(["*", "2", "1-3", "*/2", "0,23", "3"]),
)


def _match(field: str, value: int, end: int) -> bool:
    """Return whether a field matches a value, by an independent parser."""
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = ("0-" + str(end) if span == "*" else span).partition("-")
        if value in range(int(low), int(high or low) + 1, int(step or 1)):
            return True
    return False


@settings(max_examples=40, deadline=None)
@given(
    change=some.sampled_from([(zone, day) for zone, days in CHANGES.items() for day in days]),
    fields=some.tuples(*FIELDS),
    minutes_before=some.integers(0, 24 * 60),
)
def test_times_are_those_that_a_look_at_the_clock_each_minute_finds(
    change: tuple[str, str], fields: tuple[str, str], minutes_before: int
) -> None:
    zone, day = ZoneInfo(change[0]), datetime.fromisoformat(f"{change[1]}T00:00+00:00")
    end = day + timedelta(hours=40)
    after = day + timedelta(hours=20) - minutes_before * MINUTE
    utc = [day + number * MINUTE for number in range(-30 * 60, 50 * 60)]
    walls = [one.astimezone(zone).replace(tzinfo=None) for one in utc]

    def is_meant(wall: datetime) -> bool:
        return _match(fields[0], wall.minute, 59) and _match(fields[1], wall.hour, 23)

    if any(field.startswith("*") for field in fields):
        expected = {one for one, wall in zip(utc, walls, strict=True) if is_meant(wall)}
    else:  # the first minute at which the clock has shown the time, or a later one
        furthest = list(accumulate(walls, max))
        said = (walls[0] + number * MINUTE for number in range(74 * 60))
        expected = {utc[bisect_left(furthest, wall)] for wall in said if is_meant(wall)}
    cron = f"{fields[0]} {fields[1]} * * *"
    found = []
    for time in times_after(cron, zone, after):
        if time >= end:
            break
        found.append(time)
    assert found == sorted(one for one in expected if after < one < end)


def test_times_until_now_begin_with_the_first_and_are_no_more_than_asked_for() -> None:
    first = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)  # need not be a time of the expression
    now = datetime(2026, 1, 1, 0, 3, tzinfo=UTC)
    later = [datetime(2026, 1, 1, 0, minute, tzinfo=UTC) for minute in (1, 2, 3)]
    assert times_until("* * * * *", UTC, first, now, 1_000) == [first, *later]
    assert times_until("* * * * *", UTC, first, now, 2) == [first, later[0]]
    assert times_until("0 3 * * *", UTC, first, now, 1_000) == [first]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 0 1 * 1", ["2026-01-05", "2026-01-12", "2026-01-19"]),  # a day of either field
        ("0 0 */2 * 1", ["2026-01-05", "2026-01-19", "2026-02-09"]),  # a star: days of both
        ("0 0 L * *", ["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("0 0 29 2 *", ["2028-02-29", "2032-02-29"]),
        ("0 0 * * MON#1", ["2026-01-05", "2026-02-02"]),
    ],
)
def test_days_are_read_as_cron_reads_them(cron: str, expected: list[str]) -> None:
    start = datetime(2026, 1, 1, 12, tzinfo=UTC)
    times = islice(times_after(cron, UTC, start), len(expected))
    assert [f"{time:%Y-%m-%d}" for time in times] == expected


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("", "has 0 fields, it needs 5: minute, hour"),
        ("0 3 * *", "has 4 fields"),
        ("0 0 3 * * 1", "has 6 fields"),
        ("@daily", "has 1 fields"),
        ("60 3 * * 1", "cannot be used: bad minute"),
        ("0 24 * * 1", "bad hour"),
        ("0 3 0 * 1", "bad day-of-month"),
        ("0 3 * 13 1", "bad month"),
        ("0 3 * * 8", "bad day-of-week"),
        ("0 3 31 2 *", "bad day-of-month"),
        (f"{'9' * 5000} 3 * * 1", "bad number"),
        ("0 3 * * monday", "bad day-of-week"),
    ],
)
def test_an_expression_that_says_nothing_is_refused_in_a_line(cron: str, said: str) -> None:
    with pytest.raises(ScheduleError) as refusal:
        check_cron(cron)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@settings(max_examples=300, deadline=None)
@given(
    some.lists(
        some.text(alphabet="0123456789*/,-L#W ²٣MONJA", min_size=1, max_size=6),
        min_size=5,
        max_size=5,
    )
)
def test_any_text_is_accepted_or_refused_with_a_reason(fields: list[str]) -> None:
    cron = " ".join(fields)
    try:
        check_cron(cron)
    except ScheduleError:
        return
    assert next_time(cron, UTC, datetime(2026, 1, 1, tzinfo=UTC)).second == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("europe/berlin", "did you mean Europe/Berlin?"),
        ("Berlin", "did you mean Europe/Berlin?"),
        ("my own clock", "write one as Europe/Berlin or UTC"),
        ("", "is not known"),
        ("../../etc/passwd", "is not known"),
        ("/etc/localtime", "is not known"),
        ("Europe", "is not known"),
        ("a\x00b", "is not known"),
        ("\ud800", "is not known"),
    ],
)
def test_a_zone_that_is_not_known_is_refused_in_a_line(name: str, said: str) -> None:
    with pytest.raises(ScheduleError, match="is not known") as refusal:
        zone_of(name)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_machine_without_zones_says_what_to_install_and_knows_utc(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    zoneinfo.reset_tzpath([])
    try:
        ZoneInfo.clear_cache()
        with pytest.raises(ScheduleError, match=r"knows no zones: install tzdata"):
            zone_of("Europe/Berlin")
        assert zone_of("UTC") == UTC
    finally:
        zoneinfo.reset_tzpath()
