"""Signs of progress: a thread of the producer says that it gets on, and its health is told by that.

What a thread does may lie deep below what is watched, as a page of a listing or a piece of a copy.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Beat = Callable[[float], None]
"""Is told when a thread got on, by `time.monotonic`."""

_BEAT: ContextVar[Beat | None] = ContextVar("beat", default=None)


class Beats:
    """When each thread that is watched got on last, by its name."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    @contextmanager
    def watched(self, name: str) -> Iterator[None]:
        """Watch this thread for as long as the context lasts."""

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
        """Return what is known now; other threads may go on meanwhile."""
        return dict(self._at)


def tell_progress_to(beat: Beat | None) -> None:
    """Have `beat` called at each sign of progress of this thread."""
    _BEAT.set(beat)


def progress_told_to() -> Beat | None:
    """Return who hears of this thread's progress, to be handed to a thread that works for it."""
    return _BEAT.get()


def progressed() -> None:
    """Say that this thread got on."""
    if (beat := _BEAT.get()) is not None:
        beat(time.monotonic())


def waits_for_ledger() -> None:
    """Say that this thread waits for one long statement of the ledger, until it gets on."""
    if (beat := _BEAT.get()) is not None:
        beat(math.inf)
