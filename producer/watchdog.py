"""Watchdog: the time of each producer thread's last progress, for the health check.

Progress is reported through a context variable, from any depth of a thread's calls.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Beat = Callable[[float], None]
"""Callback with the time of a thread's progress, by `time.monotonic`."""

_BEAT: ContextVar[Beat | None] = ContextVar("beat", default=None)


class Watchdog:
    """Time of the last progress of each watched thread, by the thread's name."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    @contextmanager
    def watched(self, name: str) -> Iterator[None]:
        """Watch this thread within the context."""

        def beat(at: float) -> None:
            self._at[name] = at

        beat(time.monotonic())
        tell_progress_to(beat)
        try:
            yield
        finally:
            tell_progress_to(None)
            self._at.pop(name, None)

    def all(self) -> dict[str, float]:
        """Return a copy of the times, by thread."""
        return dict(self._at)


def tell_progress_to(beat: Beat | None) -> None:
    """Set the callback for this thread's progress; None stops the reports."""
    _BEAT.set(beat)


def progress_told_to() -> Beat | None:
    """Return this thread's callback, so that a helper thread can report to it too."""
    return _BEAT.get()


def progressed() -> None:
    """Report progress of this thread."""
    if (beat := _BEAT.get()) is not None:
        beat(time.monotonic())


def waits_for_ledger() -> None:
    """Exempt this thread from the watchdog during one long SQL statement."""
    if (beat := _BEAT.get()) is not None:
        beat(math.inf)
