"""Patience with the ledger: a transaction is tried again for as long as PostgreSQL is away."""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from schema.database import first_line, is_conflict, is_read_only, may_pass

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
FIRST_LINE_SECONDS = 10.0
"""The log says again that the ledger is away after so long, then after twice as long, and so on."""

MOST_CONFLICTS = 20

log = structlog.get_logger(__name__)


class Patience:
    """Runs transactions for many threads; all of them wait out one outage, under one log line.

    `away_since` is when the ledger was first missed, by `time.monotonic`; None while no transaction
    waits for it. What succeeds meanwhile, as reading may while writing is refused, ends no outage.
    """

    def __init__(self, engine: Engine) -> None:
        self.away_since: float | None = None
        self._engine = engine
        self._lock = threading.Lock()
        self._next_line_seconds = 0.0
        self._waiting: set[int] = set()

    def run(self, work: Callable[[Connection], T], stop: threading.Event | None = None) -> T:
        """Return what the work comes to in a transaction of its own, however long that takes.

        The work may run several times, also after a commit whose answer was lost, so it must bear
        repeating.

        Raises:
            DBAPIError: what no waiting mends; and any error once `stop` is set.
            PoolTimeoutError: once `stop` is set.
        """
        stop = stop or threading.Event()
        pause_seconds, conflicts, is_answered = FIRST_PAUSE_SECONDS, 0, True
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
                    if stop.is_set() or not may_pass(error):
                        is_answered = not may_pass(error)
                        raise
                    self._missed(error)
                    if is_read_only(error):  # new sessions may be allowed to write
                        self._engine.dispose()
                stop.wait(random.uniform(pause_seconds / 2, pause_seconds))  # noqa: S311 - spreads
                pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
        finally:
            self._over(is_answered=is_answered)

    def _missed(self, error: DBAPIError | PoolTimeoutError) -> None:
        now = time.monotonic()
        with self._lock:
            self._waiting.add(threading.get_ident())
            if self.away_since is None:
                self.away_since, self._next_line_seconds = now, 0.0
            away_seconds = now - self.away_since
            if away_seconds < self._next_line_seconds:
                return
            self._next_line_seconds = max(FIRST_LINE_SECONDS, 2 * self._next_line_seconds)
        log.warning("ledger_away", seconds=round(away_seconds, 1), reason=first_line(error))

    def _over(self, *, is_answered: bool) -> None:
        """End this thread's transaction; the outage ends with the last one that waits."""
        if not self._waiting:
            return
        with self._lock:
            self._waiting.discard(threading.get_ident())
            if self._waiting or self.away_since is None:
                return
            since, self.away_since = self.away_since, None
        if is_answered:
            log.warning("ledger_back", seconds=round(time.monotonic() - since, 1))
