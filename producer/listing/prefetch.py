"""Prefetch: runs a generator on its own thread, behind a bounded queue."""

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

from fakesweep.producer.watchdog import Beat, progress_told_to, tell_progress_to

Step = TypeVar("Step")

_POLL_SECONDS = 0.1
_END_SECONDS = 3.0
"""Time limit for the thread's end; a read of standard input may block forever."""


class _End:
    """Mark behind the last step."""


@contextmanager
def prefetched(
    steps: Generator[Step], most: int, tick_seconds: float
) -> Iterator[Iterator[Step | None]]:
    """Yield an iterator over the steps, up to `most` of them prefetched.

    The iterator yields None after each `tick_seconds` without a step, and raises the generator's
    errors. Leaving the context closes the generator.
    """
    made: queue.Queue[Step | BaseException | _End] = queue.Queue(most)
    is_over = threading.Event()
    thread = threading.Thread(
        target=_make,
        args=(steps, made, is_over, progress_told_to()),
        name="listing-prefetch",
        daemon=True,
    )
    thread.start()
    taken = _taken(made, tick_seconds)
    try:
        yield taken
    finally:
        is_over.set()
        thread.join(_END_SECONDS)


def _taken(
    made: "queue.Queue[Step | BaseException | _End]", tick_seconds: float
) -> Iterator[Step | None]:
    while True:
        try:
            step = made.get(timeout=tick_seconds)
        except queue.Empty:
            yield None
            continue
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, _End):
            return
        yield step


def _make(
    steps: Generator[Step],
    made: "queue.Queue[Step | BaseException | _End]",
    is_over: threading.Event,
    beat: Beat | None,
) -> None:
    tell_progress_to(beat)
    try:
        for step in steps:
            if not _is_put(step, made, is_over):
                break
        last: BaseException | _End = _End()
    except BaseException as error:  # noqa: BLE001 - raised again in `_taken`
        last = error
    finally:
        steps.close()
    _is_put(last, made, is_over)


def _is_put(
    step: Step | BaseException | _End,
    made: "queue.Queue[Step | BaseException | _End]",
    is_over: threading.Event,
) -> bool:
    while not is_over.is_set():
        try:
            made.put(step, timeout=_POLL_SECONDS)
        except queue.Full:
            continue
        return True
    return False
