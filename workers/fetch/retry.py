"""Retry rule of all storage: transient failures, jittered exponential backoff, one deadline."""

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fakesweep.schema.failures import FetchFailure, FetchTimedOut

if TYPE_CHECKING:
    from fakesweep.schema.settings import Settings

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 20.0


class Transient(Exception):  # noqa: N818 - says what the failure is
    """A retryable failure: the final failure after the last attempt, and the server's pause."""

    def __init__(self, failure: FetchFailure, pause_seconds: float | None = None) -> None:
        super().__init__(failure)
        self.failure = failure
        self.pause_seconds = pause_seconds


class Deadline:
    """Deadline of one whole image; a dripping body never hits a stall timeout."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends_at = time.monotonic() + seconds

    def allows(self, pause_seconds: float) -> bool:
        """Return whether the pause ends before the deadline."""
        return time.monotonic() + pause_seconds < self._ends_at

    def check(self) -> None:
        """Fail once the deadline has passed.

        Raises:
            FetchTimedOut: the deadline has passed.
        """
        if not self.allows(0):
            raise too_late(self.seconds)


def too_late(seconds: float) -> FetchTimedOut:
    """Return the failure of an image that exceeds its deadline."""
    return FetchTimedOut(
        f"the image was not whole within {seconds:g} s (FAKESWEEP_FETCH_DEADLINE_SECONDS)"
    )


def with_attempts(read: Callable[[Deadline], bytes], settings: "Settings") -> bytes:
    """Read with retries, until success, a final failure, the last attempt or the deadline."""
    deadline = Deadline(settings.fetch_deadline_seconds)
    attempt = 1
    while True:
        try:
            return read(deadline)
        except Transient as trouble:
            pause_seconds = _pause_seconds(trouble, attempt)
            if attempt == settings.fetch_attempts or not deadline.allows(pause_seconds):
                raise _final(trouble.failure, attempt) from trouble
        time.sleep(pause_seconds)
        attempt += 1


def _pause_seconds(trouble: Transient, attempt: int) -> float:
    if trouble.pause_seconds is not None:
        return min(trouble.pause_seconds, LONGEST_PAUSE_SECONDS)
    longest = min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS)
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads retries, hides nothing


def _final(failure: FetchFailure, attempts: int) -> FetchFailure:
    if attempts == 1:
        return failure
    return type(failure)(f"{failure} ({attempts} attempts)")
