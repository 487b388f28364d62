"""Durations as people write them, the same for every option."""

from datetime import UTC, datetime, timedelta

import pytest

from fakesweep.schema.ages import age_of, moment_of, recorded_moment
from fakesweep.schema.errors import SourceError

NOW = datetime(2026, 8, 31, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("90min", datetime(2026, 8, 31, 11, 0, tzinfo=UTC)),
        ("12h", datetime(2026, 8, 31, 0, 30, tzinfo=UTC)),
        (" 7D ", datetime(2026, 8, 24, 12, 30, tzinfo=UTC)),
        ("2w", datetime(2026, 8, 17, 12, 30, tzinfo=UTC)),
        ("6mo", datetime(2026, 2, 28, 12, 30, tzinfo=UTC)),
        ("18mo", datetime(2025, 2, 28, 12, 30, tzinfo=UTC)),
        ("8mo", datetime(2025, 12, 31, 12, 30, tzinfo=UTC)),
        ("2y", datetime(2024, 8, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T10:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2026-01-31T10:00+02:00", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("2026-01-31T10:00Z", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_an_age_or_date_means_a_moment(written: str, moment: datetime) -> None:
    assert moment_of(written, NOW) == moment


@pytest.mark.parametrize("written", ["6m", "30M", " 1m "])
def test_a_bare_m_is_refused_with_what_it_may_mean(written: str) -> None:
    for refuses in (age_of, lambda said: moment_of(said, NOW)):
        with pytest.raises(SourceError, match=r"minutes or months; write \d+min or \d+mo"):
            refuses(written)


def test_a_bare_m_that_was_recorded_before_still_means_minutes() -> None:
    assert recorded_moment("30m", NOW) == NOW - timedelta(minutes=30)
    assert recorded_moment("30min", NOW) == NOW - timedelta(minutes=30)


@pytest.mark.parametrize(
    "written",
    ["", "7", "d", "7 d", "-7d", "1.5h", "7days", "7s", "1h30min", "\u0667d", "yesterday",
     "2026-13-01", "999999w", "999999y", "99999mo"],
)  # fmt: skip
def test_an_invalid_age_or_date_is_refused(written: str) -> None:
    with pytest.raises(SourceError):
        moment_of(written, NOW)


def test_ages_count_ahead_by_the_same_calendar() -> None:
    assert age_of("6mo").after(NOW) == datetime(2027, 2, 28, 12, 30, tzinfo=UTC)
