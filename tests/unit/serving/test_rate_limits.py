"""Rate limits of tokens, and the time to wait."""

import math
from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fakesweep.schema.ledger.api_tokens import Caller
from fakesweep.schema.words import Scope
from fakesweep.serving.rate_limits import WINDOW_SECONDS, RateLimits, Window, seconds_until
from tests.support.servers import free_port

_COUNTS = st.integers(0, 1_000)
_SECONDS = st.floats(0.1, WINDOW_SECONDS)


def caller(rate: int, token_id: int = 1) -> Caller:
    return Caller(token_id, "gallery", frozenset(Scope), rate)


def fits(window: Window, limit: int, images: int, after: float) -> bool:
    """Return whether the sliding window admits images after some idle seconds."""
    left = max(0.0, window.now_seconds - WINDOW_SECONDS)
    if after < left:
        share = max(0.0, window.before_seconds - after) / WINDOW_SECONDS
        return math.floor(window.before * share) + window.now + images <= limit
    share = max(0.0, 1 - (after - left) / WINDOW_SECONDS)
    return math.floor(window.now * share) + images <= limit


@given(before=_COUNTS, now=_COUNTS, left=_SECONDS, limit=st.integers(1, 1_000), images=_COUNTS)
def test_images_fit_after_the_time_that_was_told_and_not_much_earlier(
    before: int, now: int, left: float, limit: int, images: int
) -> None:
    assume(1 <= images <= limit)
    window = Window(before, left, now, WINDOW_SECONDS + left)
    seconds = seconds_until(window, limit, images)
    assert 0 <= seconds <= 2 * WINDOW_SECONDS
    assert fits(window, limit, images, seconds + 0.001)
    if seconds > 0.001:
        assert not fits(window, limit, images, seconds - 0.001)


@pytest.fixture
def limits() -> Iterator[RateLimits]:
    """Limits whose broker does not answer."""
    opened = RateLimits(f"redis://127.0.0.1:{free_port()}/0")
    yield opened
    opened.close()


def test_without_a_broker_each_process_counts_alone_and_lets_no_more_through(
    limits: RateLimits,
) -> None:
    assert [limits.take(caller(10), 4) for _ in range(2)] == [0, 0]
    assert limits.take(caller(10), 4) > 0
    assert limits.take(caller(10), 2) == 0
    assert limits.take(caller(10), 1) > 0
    assert limits.take(caller(10, token_id=2), 10) == 0


def test_refused_images_do_not_count(limits: RateLimits) -> None:
    for _ in range(5):
        assert limits.take(caller(10), 11) > 0
    assert limits.take(caller(10), 10) == 0


def test_the_time_to_wait_is_whole_seconds_and_at_least_one(limits: RateLimits) -> None:
    limits.take(caller(10), 10)
    for images in range(1, 11):
        seconds = limits.take(caller(10), images)
        assert seconds == int(seconds)
        assert 1 <= seconds <= 2 * WINDOW_SECONDS
