"""Patience with the ledger: a transaction is tried again for as long as PostgreSQL is away.

What PostgreSQL refuses while it is well is tried again for a stated time only.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from fakesweep.schema.ledger.connection import (
    first_line,
    is_conflict,
    is_read_only,
    is_refusal,
    may_pass,
)

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
FIRST_LINE_SECONDS = 10.0
"""The log says again that the ledger is away after so long, then after twice as long, and so on."""

MOST_CONFLICTS = 20
REFUSAL_SECONDS = 300.0

log = structlog.get_logger(__name__)


class LedgerRetry:
    """Runs transactions for many threads; all of them wait out one outage, under one log line.

    What succeeds meanwhile, as reading may while writing is refused, ends no outage.
    """

    def __init__(self, engine: Engine, refusal_seconds: float = REFUSAL_SECONDS) -> None:
        self._engine = engine
        self._refusal_seconds = refusal_seconds
        self._missed_since: float | None = None
        self._lock = threading.Lock()
        self._next_line_seconds = 0.0
        self._waiting: set[int] = set()
        self._refused: set[int] = set()

    @property
    def away_since(self) -> float | None:
        """When the ledger was first missed, by `time.monotonic`; None while nothing waits for it.

        A ledger that is well and refuses all that waits is not away: that excuses no worker.
        """
        with self._lock:
            return None if self._waiting <= self._refused else self._missed_since

    def run(self, work: Callable[[Connection], T], stop: threading.Event | None = None) -> T:
        """Return what the work comes to in a transaction of its own, once the ledger is there.

        The work may run several times, also after a commit whose answer was lost, so it must bear
        repeating.

        Raises:
            DBAPIError: what no waiting mends, or did not within `refusal_seconds` while the ledger
                was there; and any error once `stop` is set.
            PoolTimeoutError: once `stop` is set.
        """
        stop = stop or threading.Event()
        pause_seconds, conflicts, is_answered = FIRST_PAUSE_SECONDS, 0, True
        refused_since: float | None = None
        try:
            while True:
                try:
                    with self._engine.begin() as connection:
                        return work(connection)
                except (DBAPIError, PoolTimeoutError) as error:
                    if is_conflict(error) and conflicts < MOST_CONFLICTS:
                        conflicts += 1
                        log.info("transaction_conflicted", conflicts=conflicts)
                        time.sleep(random.uniform(0, FIRST_PAUSE_SECONDS))  # noqa: S311 - spreads
                        continue
                    refused_since = self._refused_since(error, refused_since)
                    if stop.is_set() or not may_pass(error) or self._is_over(refused_since):
                        is_answered = not may_pass(error)
                        raise
                    self._missed(error)
                    if is_read_only(error):  # new sessions may be allowed to write
                        self._engine.dispose()
                stop.wait(random.uniform(pause_seconds / 2, pause_seconds))  # noqa: S311 - spreads
                pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
        finally:
            self._over(is_answered=is_answered)

    def _refused_since(
        self, error: DBAPIError | PoolTimeoutError, since: float | None
    ) -> float | None:
        """Note whether this thread's work is refused; return since when, None where it is not."""
        with self._lock:
            if not is_refusal(error):
                self._refused.discard(threading.get_ident())
                return None
            self._refused.add(threading.get_ident())
        return since or time.monotonic()

    def _is_over(self, refused_since: float | None) -> bool:
        return (
            refused_since is not None and time.monotonic() - refused_since > self._refusal_seconds
        )

    def _missed(self, error: DBAPIError | PoolTimeoutError) -> None:
        now = time.monotonic()
        with self._lock:
            self._waiting.add(threading.get_ident())
            if self._missed_since is None:
                self._missed_since, self._next_line_seconds = now, 0.0
            away_seconds = now - self._missed_since
            if away_seconds < self._next_line_seconds:
                return
            self._next_line_seconds = max(FIRST_LINE_SECONDS, 2 * self._next_line_seconds)
        log.warning("ledger_away", seconds=round(away_seconds, 1), reason=first_line(error))

    def _over(self, *, is_answered: bool) -> None:
        """End this thread's transaction; the outage ends with the last one that waits."""
        if not self._waiting and not self._refused:
            return
        with self._lock:
            self._refused.discard(threading.get_ident())
            self._waiting.discard(threading.get_ident())
            if self._waiting or self._missed_since is None:
                return
            since, self._missed_since = self._missed_since, None
        if is_answered:
            log.warning("ledger_back", seconds=round(time.monotonic() - since, 1))
