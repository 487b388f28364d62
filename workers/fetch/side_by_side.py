"""Concurrent fetches with a deadline each, which also holds for a blocked thread.

A silent name server or dripping headers block a thread inside the system or a library. The
deadline abandons that thread and starts another.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from fakesweep.schema.failures import ImageFailure, SourceUnavailable
from fakesweep.workers.error_text import one_line
from fakesweep.workers.fetch.retry import too_late

Found = bytes | ImageFailure


@dataclass(slots=True, eq=False)
class _Fetch:
    number: int
    uri: str
    ends_at: float
    found: Found = b""
    is_left_alone: bool = False


class SideBySide:
    """Fetches up to `threads` images at once; used by one thread.

    `left_alone` counts threads abandoned at a deadline, which may be blocked for ever.
    """

    def __init__(
        self, fetch: Callable[[str], bytes], threads: int, deadline_seconds: float
    ) -> None:
        self.left_alone = 0
        self._fetch = fetch
        self._threads = threads
        self._started = 0
        self._deadline_seconds = deadline_seconds
        self._asked: SimpleQueue[_Fetch] = SimpleQueue()
        self._answered: SimpleQueue[_Fetch] = SimpleQueue()
        self._running: dict[int, _Fetch] = {}

    @property
    def is_full(self) -> bool:
        """Whether every thread is busy."""
        return len(self._running) == self._threads

    @property
    def is_idle(self) -> bool:
        """Whether no fetch is running."""
        return not self._running

    def start(self, number: int, uri: str) -> None:
        """Start to fetch image `number`; call it only while not `is_full`."""
        if self._started - self.left_alone <= len(self._running):
            threading.Thread(target=self._work, name="fetch", daemon=True).start()
            self._started += 1
        one = _Fetch(number, uri, time.monotonic() + self._deadline_seconds)
        self._running[number] = one
        self._asked.put(one)

    def next_found(self) -> tuple[int, Found]:
        """Return the next image or failure; waits until the oldest fetch's deadline at most."""
        while True:
            oldest = next(iter(self._running.values()))
            try:
                one = self._answered.get(timeout=max(0.0, oldest.ends_at - time.monotonic()))
            except Empty:
                self.left_alone += 1
                oldest.is_left_alone = True
                del self._running[oldest.number]
                return oldest.number, too_late(self._deadline_seconds)
            if self._running.get(one.number) is one:  # else its deadline passed earlier
                del self._running[one.number]
                return one.number, one.found

    def _work(self) -> None:
        one: _Fetch | None = None
        while one is None or not one.is_left_alone:
            one = self._asked.get()
            one.found = self._found(one.uri)
            self._answered.put(one)

    def _found(self, uri: str) -> Found:
        try:
            return self._fetch(uri)
        except ImageFailure as failure:
            return failure
        except MemoryError:
            return SourceUnavailable("this loader has no memory left to fetch it into")
        except Exception as error:  # noqa: BLE001 - one image never fails its batch
            return SourceUnavailable(f"fetching raised {type(error).__name__}: {one_line(error)}")
