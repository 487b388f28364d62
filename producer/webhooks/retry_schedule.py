"""Retry schedule: pauses between attempts, and rests of a failing receiver."""

import random
from dataclasses import dataclass

HOUR_SECONDS = 3_600.0

LONGEST_RETRY_AFTER_SECONDS = 24 * HOUR_SECONDS


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """Times and limits of deliveries.

    `pauses_seconds` separate the attempts; after the last one a delivery is dead. A failing
    receiver rests `first_rest_seconds`, doubled at each failure, and then gets one delivery at a
    time until it accepts one. `at_once` limits the deliveries in hand for each webhook.
    """

    pauses_seconds: tuple[float, ...] = (
        5.0, 30.0, 120.0, 600.0, HOUR_SECONDS, 6 * HOUR_SECONDS, 18 * HOUR_SECONDS,
        24 * HOUR_SECONDS,
    )  # fmt: skip
    timeout_seconds: float = 15.0
    lease_seconds: float = 60.0
    poll_seconds: float = 0.5
    first_rest_seconds: float = 1.0
    longest_rest_seconds: float = 60.0
    shutdown_seconds: float = 5.0
    at_once: int = 8

    def pause_seconds(self, attempts: int, retry_after_seconds: float | None) -> float | None:
        """Return the seconds before the next attempt, None after the last one.

        The receiver's Retry-After counts where it is longer than the pause, up to a day. Jitter of
        up to a fifth spreads deliveries that failed together.
        """
        if attempts > len(self.pauses_seconds):
            return None
        asked = min(retry_after_seconds or 0.0, LONGEST_RETRY_AFTER_SECONDS)
        return max(asked, self.pauses_seconds[attempts - 1]) * random.uniform(1.0, 1.2)  # noqa: S311 - spreads

    def rest_seconds(self, failures: int, retry_after_seconds: float | None) -> float:
        """Return the rest of a receiver after `failures` in a row."""
        rest = self.first_rest_seconds * 2.0 ** min(failures - 1, 16)
        return min(max(rest, retry_after_seconds or 0.0), self.longest_rest_seconds)


RETRY_SCHEDULE = RetrySchedule()
