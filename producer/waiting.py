"""Waiting for what does not answer, longer each time, with a line in the log."""

import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from producer.progress import progressed
from schema.database import first_line, may_pass

PAUSE_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Waiting:
    """Waits of one thread for what does not answer, each longer than the one before."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._seconds = 0.0

    def wait(self, awaited: str, reason: str) -> None:
        """Say what for and why, and wait."""
        self._seconds = min(LONGEST_WAIT_SECONDS, max(PAUSE_SECONDS, self._seconds * 2))
        log.warning(
            "waiting", awaited=awaited, seconds=self._seconds, reason=reason.splitlines()[0]
        )
        progressed()
        self._stop.wait(self._seconds)

    def wait_for_ledger(self, error: SQLAlchemyError) -> None:
        """Wait where the database may answer again.

        Raises:
            SQLAlchemyError: waiting would not mend it.
        """
        if not may_pass(error):
            raise error
        self.wait("ledger", first_line(error))

    def is_over(self) -> None:
        """Start anew: it answers."""
        progressed()
        self._seconds = 0.0
