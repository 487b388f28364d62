"""Retry of transactions while PostgreSQL is away.

A refusal by a healthy server is retried for a limited time.
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
"""Pause before the second log line of an outage; it doubles with each line."""

MOST_CONFLICTS = 20
REFUSAL_SECONDS = 300.0

log = structlog.get_logger(__name__)


class LedgerRetry:
    """Runs transactions for many threads, which share one outage and its log lines.

    A transaction that succeeds meanwhile, as reads may while writes are refused, does not end the
    outage.
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
        """The start of the outage by `time.monotonic`, None where no thread waits.

        A healthy ledger that refuses all work is not away.
        """
        with self._lock:
            return None if self._waiting <= self._refused else self._missed_since

    def run(self, work: Callable[[Connection], T], stop: threading.Event | None = None) -> T:
        """Run work in a transaction of its own, retried while the ledger is away.

        The work must be idempotent: it may run again, also after a commit whose answer was lost.

        Raises:
            DBAPIError: no retry helps, or none did within `refusal_seconds` of a healthy
                ledger; any error once `stop` is set.
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
        """Record whether this thread's work is refused; return since when, None where it is not."""
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
        """End this thread's wait; the last one ends the outage."""
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
