"""Lease renewal of a worker's batches: one thread, by the database's clock."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from fakesweep.schema.ledger.batches.leases import Claim, renew_leases
from fakesweep.schema.ledger.connection import first_line, may_pass
from fakesweep.schema.ledger.retry import LedgerRetry
from fakesweep.workers.threads.fatal import vital_thread

RENEWALS = 4
"""Renewals within the lifetime of a lease."""

SEEN_SECONDS = 3.0
"""Longest interval between renewals, which also mark the worker as alive."""

log = structlog.get_logger(__name__)


class Leases:
    """Batches held by this worker; `seconds` is the lifetime of a lease without renewal."""

    def __init__(self, ledger_retry: LedgerRetry, worker_id: UUID, seconds: float) -> None:
        self.seconds = seconds
        self._ledger_retry = ledger_retry
        self._worker_id = worker_id
        self._held: dict[int, int] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = vital_thread("leases", self._renew)

    @property
    def held(self) -> int:
        """Number of held batches."""
        return len(self._held)

    @contextmanager
    def running(self) -> Iterator["Leases"]:
        """Renew leases for the context."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[None]:
        """Hold one batch for the context."""
        with self._lock:
            self._held[claim.batch_id] = claim.attempt
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(claim.batch_id)

    def _renew(self) -> None:
        while not self._stop.wait(min(self.seconds / RENEWALS, SEEN_SECONDS)):
            try:
                self._ledger_retry.run(self._renew_held, self._stop)
            except DBAPIError as error:
                if self._stop.is_set():
                    return
                if not may_pass(error):
                    raise
                log.error("leases_not_renewed", reason=first_line(error))
            except Exception:
                if not self._stop.is_set():
                    raise

    def _renew_held(self, connection: Connection) -> None:
        """Renew the current batches; an outage may have delayed this call."""
        with self._lock:
            held = dict(sorted(self._held.items()))
        renew_leases(connection, held, self._worker_id, self.seconds)
