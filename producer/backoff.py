"""Waiting for what does not answer, longer each time, with a line in the log now and then."""

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
"""An outage is logged again after this time, then after twice as long, and on."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Outage:
    """Since when something is away, who waits for it, and after how long that is said again."""

    since: float
    waiting: "WeakSet[Backoff]" = field(default_factory=WeakSet)
    next_line_seconds: float = 0.0


class Outages:
    """What does not answer, for all threads of a process: one outage has one line, said at times.

    It is over when the first that waited for it gets an answer, or when nobody waits any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outages: dict[Hashable, Outage] = {}

    def missed(self, awaited: Hashable, by: "Backoff") -> float | None:
        """Return for how many seconds it has been away, None where that was said lately."""
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
        """Return how many seconds it was away, None where somebody else has noticed."""
        with self._lock:
            outage = self._outages.pop(awaited, None)
        return None if outage is None else time.monotonic() - outage.since


_outages = Outages()


class Backoff:
    """Waits of one thread for what does not answer, each longer than the one before."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._seconds = 0.0
        self._awaited: set[str] = set()

    def wait(self, awaited: str, reason: str) -> None:
        """Say what for and why, and wait."""
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
        """Wait where the database may answer again.

        Raises:
            SQLAlchemyError: waiting would not mend it.
        """
        if not may_pass(error):
            raise error
        self.wait(LEDGER, first_line(error))

    def is_over(self) -> None:
        """Start anew: it answers."""
        progressed()
        self._seconds = 0.0
        while self._awaited:
            awaited = self._awaited.pop()
            if (away_seconds := _outages.over(self._outage(awaited))) is not None:
                log.warning("waited", awaited=awaited, seconds=round(away_seconds, 1))

    def _outage(self, awaited: str) -> Hashable:
        return awaited if awaited in SERVERS else (awaited, id(self))
