"""Retry schedule: pauses of deliveries and rests of receivers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesweep.producer.webhooks.retry_schedule import HOUR_SECONDS, RETRY_SCHEDULE


def test_attempts_go_on_for_two_days_and_end() -> None:
    assert 48 * HOUR_SECONDS <= sum(RETRY_SCHEDULE.pauses_seconds) <= 52 * HOUR_SECONDS
    assert list(RETRY_SCHEDULE.pauses_seconds) == sorted(RETRY_SCHEDULE.pauses_seconds)
    last = len(RETRY_SCHEDULE.pauses_seconds)
    assert RETRY_SCHEDULE.pause_seconds(last, None) is not None
    assert RETRY_SCHEDULE.pause_seconds(last + 1, None) is None
    assert RETRY_SCHEDULE.pause_seconds(last + 1, 60.0) is None


@given(st.integers(1, len(RETRY_SCHEDULE.pauses_seconds)), st.floats(0, 1e9) | st.none())
def test_a_pause_is_what_is_longer_up_to_a_day_and_a_fifth(
    attempts: int, asked: float | None
) -> None:
    pause = RETRY_SCHEDULE.pause_seconds(attempts, asked)
    least = max(RETRY_SCHEDULE.pauses_seconds[attempts - 1], min(asked or 0.0, 24 * HOUR_SECONDS))
    assert pause is not None
    assert least <= pause <= 1.2 * least


def test_pauses_after_the_same_failure_differ() -> None:
    assert len({RETRY_SCHEDULE.pause_seconds(1, None) for _ in range(20)}) > 1


@pytest.mark.parametrize(
    ("failures", "asked", "rest"),
    [(1, None, 1), (2, None, 2), (5, None, 16), (100, None, 60), (1, 30.0, 30), (1, 86_400.0, 60)],
)
def test_a_receiver_rests_longer_each_time_up_to_a_minute(
    failures: int, asked: float | None, rest: float
) -> None:
    assert RETRY_SCHEDULE.rest_seconds(failures, asked) == rest


def test_a_lease_outlasts_an_attempt() -> None:
    # To send, to be answered, and to read the rest of the answer.
    assert RETRY_SCHEDULE.lease_seconds > 3 * RETRY_SCHEDULE.timeout_seconds
