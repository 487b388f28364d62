"""Rate limits of uploads by token, counted on the broker for all API processes."""

import math
import threading
import time
from typing import NamedTuple

import structlog
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from fakesweep.schema.broker import client_url
from fakesweep.schema.ledger.api_tokens import Caller

KEY_PREFIX = "fakesweep-api"
"""Prefix of every key, apart from queues and Celery's keys."""

WINDOW_SECONDS = 60
ANSWER_SECONDS = 1.0
WITHOUT_BROKER_SECONDS = 5.0
"""Pause before a broker that did not answer is asked again."""

log = structlog.get_logger(__name__)


class Window(NamedTuple):
    """The counts of the last and the current window, and their remaining seconds."""

    before: int
    before_seconds: float
    now: int
    now_seconds: float


class RateLimits:
    """A sliding window of one minute, by token: the minute before counts by its remaining share.

    While the broker is away, each process applies the limit alone, so several processes admit a
    multiple of it.
    """

    def __init__(self, broker_url: str) -> None:
        self._shared = RedisStorage(
            client_url(broker_url),
            key_prefix=KEY_PREFIX,
            wrap_exceptions=True,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),  # type: ignore[arg-type]  # handed on to redis-py
        )
        self._own = MemoryStorage()
        self._away_until = 0.0
        self._lock = threading.Lock()

    def take(self, caller: Caller, images: int) -> float:
        """Count images where all of them are admitted; return the seconds to wait, else 0."""
        if time.monotonic() >= self._away_until:
            try:
                return _take(self._shared, caller, images)
            except StorageError as error:
                self._miss(error)
        with self._lock:
            return _take(self._own, caller, images)

    def close(self) -> None:
        """Close the connections."""
        self._shared.storage.close()
        self._own.timer.cancel()

    def _miss(self, error: StorageError) -> None:
        self._away_until = time.monotonic() + WITHOUT_BROKER_SECONDS
        log.warning(
            "rates_counted_alone",
            seconds=WITHOUT_BROKER_SECONDS,
            reason=str(error).partition("\n")[0],
        )


def seconds_until(window: Window, limit: int, images: int) -> float:
    """Return the seconds until a number of images fits into the sliding window.

    They fit once `before`, weighted by its remaining share and rounded down, and `now` leave room.
    """
    room = limit - window.now - images
    if room >= 0:
        return _decayed(window.before, window.before_seconds, room)
    left = max(0.0, window.now_seconds - WINDOW_SECONDS)
    return left + _decayed(window.now, WINDOW_SECONDS, limit - images)


def _decayed(count: int, seconds: float, room: int) -> float:
    """Return the seconds until a count, decaying linearly to zero, leaves the room."""
    if not count:
        return 0.0
    return max(0.0, seconds - (room + 1) * WINDOW_SECONDS / count)


def _take(storage: RedisStorage | MemoryStorage, caller: Caller, images: int) -> float:
    item = RateLimitItemPerMinute(caller.rate_per_minute)
    who = f"token-{caller.token_id}"
    if SlidingWindowCounterRateLimiter(storage).hit(item, who, cost=images):
        return 0.0
    try:
        window = Window(*storage.get_sliding_window(item.key_for(who), WINDOW_SECONDS))
    except StorageError:
        return float(WINDOW_SECONDS)
    return max(1.0, math.floor(seconds_until(window, caller.rate_per_minute, images)) + 1.0)
