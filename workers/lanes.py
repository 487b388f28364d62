"""Threads that take work by lane: what is live goes before all that is bulk and waits."""

import contextvars
import itertools
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from schema.words import Lane
from workers.endings import vital_thread

T = TypeVar("T")

ORDER = {lane: place for place, lane in enumerate(Lane)}
"""A lane's place in every queue of a worker."""

_AFTER_ALL = len(ORDER)


@dataclass(order=True, slots=True, frozen=True)
class _Turn:
    lane_order: int
    number: int
    work: Callable[[], None] | None = field(compare=False)


class Lanes:
    """So many threads; each takes the most urgent work that waits, then the oldest."""

    def __init__(self, threads: int) -> None:
        self._numbers = itertools.count()
        self._waiting: queue.PriorityQueue[_Turn] = queue.PriorityQueue()
        self._threads = [vital_thread(f"lanes-{number}", self._take) for number in range(threads)]

    @contextmanager
    def running(self) -> Iterator["Lanes"]:
        """Take work for as long as the context lasts; what waits at its end is still done."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            for _ in self._threads:
                self._waiting.put(_Turn(_AFTER_ALL, next(self._numbers), None))
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

        self._waiting.put(_Turn(ORDER[lane], next(self._numbers), settle))
        return future

    def _take(self) -> None:
        while (turn := self._waiting.get()).work is not None:
            turn.work()
