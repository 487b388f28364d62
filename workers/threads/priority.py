"""Threads that take work by lane: what is live goes before all that is bulk and waits."""

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
"""A lane's place in every queue of a worker."""

_AFTER_ALL = len(ORDER)


@dataclass(order=True, slots=True, frozen=True)
class _Turn:
    lane_order: int
    number: int
    work: Callable[[], None] = field(compare=False)


class PriorityThreads:
    """So many threads; each takes the most urgent work that waits, then the oldest.

    Besides, `live_threads` take live work alone: it waits for no thread that is at something else.
    """

    def __init__(self, threads: int, live_threads: int = 0) -> None:
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._waiting: list[_Turn] = []
        lasts = [_AFTER_ALL] * threads + [ORDER[Lane.LIVE] + 1] * live_threads
        self._threads = [
            vital_thread(f"lanes-{number}", partial(self._take, last))
            for number, last in enumerate(lasts)
        ]
        self._is_closing = False

    @contextmanager
    def running(self) -> Iterator["PriorityThreads"]:
        """Take work for as long as the context lasts; what waits at its end is still done."""
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
        """Have one of the threads do this; return where its result, or its error, will be."""
        future: Future[T] = Future()
        context = contextvars.copy_context()  # so that what is logged names the batch

        def settle() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(context.run(work))
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                future.set_exception(error)

        with self._changed:
            heapq.heappush(self._waiting, _Turn(ORDER[lane], next(self._numbers), settle))
            self._changed.notify_all()
        return future

    def _take(self, before: int) -> None:
        """Do the work of the lanes before this place in their order, until the end."""
        while (work := self._next(before)) is not None:
            work()

    def _next(self, before: int) -> Callable[[], None] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._has_work(before) or self._is_closing)
            return heapq.heappop(self._waiting).work if self._has_work(before) else None

    def _has_work(self, before: int) -> bool:
        return bool(self._waiting) and self._waiting[0].lane_order < before
