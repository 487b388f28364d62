"""How soon a delivery is tried again, and how a receiver in trouble is spared."""

import random
from dataclasses import dataclass

HOUR_SECONDS = 3_600.0

LONGEST_RETRY_AFTER_SECONDS = 24 * HOUR_SECONDS


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The times of delivering.

    `pauses_seconds` come between the attempts; after the last, a delivery is dead. A receiver that
    failed rests, `first_rest_seconds` and twice as long each time, and is then asked with one
    delivery until it takes one. `at_once` counts deliveries in hand for each webhook.
    """

    pauses_seconds: tuple[float, ...] = (
        5.0, 30.0, 120.0, 600.0, HOUR_SECONDS, 6 * HOUR_SECONDS, 18 * HOUR_SECONDS,
        24 * HOUR_SECONDS,
    )  # fmt: skip
    timeout_seconds: float = 15.0
    lease_seconds: float = 60.0
    look_seconds: float = 0.5
    first_rest_seconds: float = 1.0
    longest_rest_seconds: float = 60.0
    leave_seconds: float = 5.0
    at_once: int = 8

    def pause_seconds(self, attempts: int, retry_after_seconds: float | None) -> float | None:
        """Return when to try again after so many attempts, None where that was the last.

        What the receiver asks for counts where it is longer than the pause, up to a day. Up to a
        fifth comes on top, by chance, so that what failed together does not come back together.
        """
        if attempts > len(self.pauses_seconds):
            return None
        asked = min(retry_after_seconds or 0.0, LONGEST_RETRY_AFTER_SECONDS)
        return max(asked, self.pauses_seconds[attempts - 1]) * random.uniform(1.0, 1.2)  # noqa: S311 - spreads

    def rest_seconds(self, failures: int, retry_after_seconds: float | None) -> float:
        """Return how long to leave a receiver alone that failed so often in a row."""
        rest = self.first_rest_seconds * 2.0 ** min(failures - 1, 16)
        return min(max(rest, retry_after_seconds or 0.0), self.longest_rest_seconds)


RETRY_SCHEDULE = RetrySchedule()
