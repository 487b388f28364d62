"""Priority threads: waiting live work runs before waiting bulk work."""

import contextvars
import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from fakesweep.schema.words import Lane
from fakesweep.workers.threads.fatal import vital_thread

T = TypeVar("T")

ORDER = {lane: place for place, lane in enumerate(Lane)}
"""Rank of each lane in a worker's queues; the lowest runs first."""

_AFTER_ALL = len(ORDER)


@dataclass(order=True, slots=True, frozen=True)
class _Job:
    lane_order: int
    number: int
    work: Callable[[], None] = field(compare=False)


class PriorityThreads:
    """Thread pool that runs the most urgent waiting work first, then the oldest.

    `threads` take any work; `live_threads` take live work only, so that bulk work never blocks it.
    """

    def __init__(self, threads: int, live_threads: int = 0) -> None:
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._waiting: list[_Job] = []
        lasts = [_AFTER_ALL] * threads + [ORDER[Lane.LIVE] + 1] * live_threads
        self._threads = [
            vital_thread(f"priority-{number}", partial(self._take, last))
            for number, last in enumerate(lasts)
        ]
        self._is_closing = False

    @contextmanager
    def running(self) -> Iterator["PriorityThreads"]:
        """Run the threads for the context; work waiting at its end is still done."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            with self._changed:
                self._is_closing = True
                self._changed.notify_all()
            for thread in self._threads:
                thread.join()

    def submit(self, lane: Lane, work: Callable[[], T]) -> Future[T]:
        """Queue work; return the future of its result or error."""
        future: Future[T] = Future()
        context = contextvars.copy_context()  # keeps the batch id in the log

        def settle() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(context.run(work))
            except BaseException as error:  # noqa: BLE001 - raised again by the future
                future.set_exception(error)

        with self._changed:
            heapq.heappush(self._waiting, _Job(ORDER[lane], next(self._numbers), settle))
            self._changed.notify_all()
        return future

    def _take(self, before: int) -> None:
        """Run work of the lanes ranked before `before` until the pool closes."""
        while (work := self._next(before)) is not None:
            work()

    def _next(self, before: int) -> Callable[[], None] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._has_work(before) or self._is_closing)
            return heapq.heappop(self._waiting).work if self._has_work(before) else None

    def _has_work(self, before: int) -> bool:
        return bool(self._waiting) and self._waiting[0].lane_order < before
