"""Images fetched side by side, each until its deadline, whatever the thread that fetches it is at.

A name's server that is silent, or headers that drip, hold a thread inside of the system or of a
library. Such a thread is left alone, and another takes its place.
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
    """So many threads that fetch; one thread asks them and hears what was found.

    `left_alone` says how many threads overran a deadline and may be at it for ever.
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
        """Whether each thread fetches an image."""
        return len(self._running) == self._threads

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to wait for."""
        return not self._running

    def start(self, number: int, uri: str) -> None:
        """Begin to fetch an image, by which number it will be known; not while they are full."""
        if self._started - self.left_alone <= len(self._running):
            threading.Thread(target=self._work, name="fetch", daemon=True).start()
            self._started += 1
        one = _Fetch(number, uri, time.monotonic() + self._deadline_seconds)
        self._running[number] = one
        self._asked.put(one)

    def next_found(self) -> tuple[int, Found]:
        """Wait for the next image that was fetched or was not, at most until its deadline."""
        while True:
            oldest = next(iter(self._running.values()))
            try:
                one = self._answered.get(timeout=max(0.0, oldest.ends_at - time.monotonic()))
            except Empty:
                self.left_alone += 1
                oldest.is_left_alone = True
                del self._running[oldest.number]
                return oldest.number, too_late(self._deadline_seconds)
            if self._running.get(one.number) is one:  # else it was given up before
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
