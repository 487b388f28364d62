"""Signs of progress: a thread of the producer says that it gets on, whoever it works for hears it.

What a thread does may lie deep below what is watched, as a page of a listing or a piece of a copy.
"""

from collections.abc import Callable
from contextvars import ContextVar

Beat = Callable[[], None]

_BEAT: ContextVar[Beat | None] = ContextVar("beat", default=None)


def tell_progress_to(beat: Beat | None) -> None:
    """Have `beat` called at each sign of progress of this thread."""
    _BEAT.set(beat)


def progress_told_to() -> Beat | None:
    """Return who hears of this thread's progress, to be handed to a thread that works for it."""
    return _BEAT.get()


def progressed() -> None:
    """Say that this thread got on."""
    if (beat := _BEAT.get()) is not None:
        beat()
