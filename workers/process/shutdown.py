"""Shutdown: batches in flight get a grace period to finish, then they are handed back."""

import os
import queue
from collections.abc import Callable

import structlog

from fakesweep.workers.threads.fatal import vital_thread

log = structlog.get_logger(__name__)


class Shutdown:
    """Ends the process after the grace period, or at once at a second signal.

    It hands back the batches in flight and exits with `exit_status`. A process that finishes
    earlier exits in order.
    """

    def __init__(self, grace_seconds: float, hand_back: Callable[[], None]) -> None:
        self.exit_status = 0
        self._grace_seconds = grace_seconds
        self._hand_back = hand_back
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()
        vital_thread("shutdown", self._wait).start()

    def tell(self, why: str) -> None:
        """Begin the shutdown; at the second call, end at once.

        Safe in signal handlers: it takes no lock that the interrupted code may hold.
        """
        self._told.put(why)

    def _wait(self) -> None:
        log.info("shutdown_started", signal=self._told.get(), grace_seconds=self._grace_seconds)
        try:
            log.warning("shutdown_forced", signal=self._told.get(timeout=self._grace_seconds))
        except queue.Empty:
            log.warning("grace_period_over", grace_seconds=self._grace_seconds)
        self._hand_back()
        os._exit(self.exit_status)
