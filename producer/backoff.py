"""Exponential backoff for a server that does not answer, and the log of its outages."""

import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from weakref import WeakSet

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fakesweep.producer.watchdog import progressed
from fakesweep.schema.ledger.connection import first_line, may_pass
from fakesweep.schema.words import LEDGER, SERVERS

PAUSE_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 10.0
FIRST_LINE_SECONDS = 10.0
"""Interval before an outage is logged again; it doubles with each line."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Outage:
    """One outage: its start, the backoffs that wait for its end, and its next log line."""

    since: float
    waiting: "WeakSet[Backoff]" = field(default_factory=WeakSet)
    next_line_seconds: float = 0.0


class Outages:
    """Outages of a process: threads that wait for the same server share one log line.

    An outage ends when one waiting thread gets an answer, or when none waits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outages: dict[Hashable, Outage] = {}

    def missed(self, awaited: Hashable, by: "Backoff") -> float | None:
        """Return the outage's length in seconds, None where it was logged recently."""
        now = time.monotonic()
        with self._lock:
            outage = self._outages.get(awaited)
            if outage is None or not outage.waiting:
                outage = self._outages[awaited] = Outage(now)
            outage.waiting.add(by)
            if now - outage.since < outage.next_line_seconds:
                return None
            outage.next_line_seconds = max(FIRST_LINE_SECONDS, 2 * outage.next_line_seconds)
        return now - outage.since

    def over(self, awaited: Hashable) -> float | None:
        """End an outage; return its length in seconds, None where another thread ended it."""
        with self._lock:
            outage = self._outages.pop(awaited, None)
        return None if outage is None else time.monotonic() - outage.since


_outages = Outages()


class Backoff:
    """Pauses of one thread between attempts; each is twice the one before, up to a limit."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._seconds = 0.0
        self._awaited: set[str] = set()

    def wait(self, awaited: str, reason: str) -> None:
        """Log the outage where a line is due, then pause."""
        self._seconds = min(LONGEST_WAIT_SECONDS, max(PAUSE_SECONDS, self._seconds * 2))
        self._awaited.add(awaited)
        if (away_seconds := _outages.missed(self._outage(awaited), self)) is not None:
            log.warning(
                "waiting",
                awaited=awaited,
                seconds=round(away_seconds, 1),
                reason=reason.splitlines()[0],
            )
        progressed()
        self._stop.wait(self._seconds)

    def wait_for_ledger(self, error: SQLAlchemyError) -> None:
        """Pause after an error of the database that may pass.

        Raises:
            SQLAlchemyError: the error is permanent.
        """
        if not may_pass(error):
            raise error
        self.wait(LEDGER, first_line(error))

    def is_over(self) -> None:
        """Reset the backoff after an answer, and end its outages."""
        progressed()
        self._seconds = 0.0
        while self._awaited:
            awaited = self._awaited.pop()
            if (away_seconds := _outages.over(self._outage(awaited))) is not None:
                log.warning("waited", awaited=awaited, seconds=round(away_seconds, 1))

    def _outage(self, awaited: str) -> Hashable:
        return awaited if awaited in SERVERS else (awaited, id(self))
