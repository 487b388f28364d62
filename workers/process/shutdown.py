"""Leaving well: batches in flight have a grace period to end in, and are handed back after it."""

import os
import queue
from collections.abc import Callable

import structlog

from fakesweep.workers.threads.fatal import vital_thread

log = structlog.get_logger(__name__)


class Shutdown:
    """Ends the process when its grace is over, or at once when it is told a second time.

    What is in flight then is handed back; `exit_status` is what the process ends with. Whoever
    ends in order before that is not held up.
    """

    def __init__(self, grace_seconds: float, hand_back: Callable[[], None]) -> None:
        self.exit_status = 0
        self._grace_seconds = grace_seconds
        self._hand_back = hand_back
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()
        vital_thread("leaving", self._wait).start()

    def tell(self, why: str) -> None:
        """Begin to leave, or leave at once.

        Made for signals: it takes no lock that the interrupted code may hold.
        """
        self._told.put(why)

    def _wait(self) -> None:
        log.info("leaving", signal=self._told.get(), grace_seconds=self._grace_seconds)
        try:
            log.warning("leaving_at_once", signal=self._told.get(timeout=self._grace_seconds))
        except queue.Empty:
            log.warning("grace_is_over", grace_seconds=self._grace_seconds)
        self._hand_back()
        os._exit(self.exit_status)
