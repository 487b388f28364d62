"""Keeps the batches a worker holds: one thread renews their leases by the database's clock."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from schema.results import renew_leases
from workers.endings import vital_thread

log = structlog.get_logger(__name__)


class Leases:
    """The batches held now; `seconds` is how long a lease lasts without renewal."""

    def __init__(self, engine: Engine, worker_id: UUID, seconds: float) -> None:
        self.seconds = seconds
        self._engine = engine
        self._worker_id = worker_id
        self._held: set[int] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = vital_thread("leases", self._renew)

    @contextmanager
    def running(self) -> Iterator["Leases"]:
        """Renew leases for as long as the context lasts."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    @contextmanager
    def holding(self, batch_id: int) -> Iterator[None]:
        """Keep one batch for as long as the context lasts."""
        with self._lock:
            self._held.add(batch_id)
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(batch_id)

    def _renew(self) -> None:
        while not self._stop.wait(self.seconds / 4):
            with self._lock:
                held = sorted(self._held)
            try:
                with self._engine.begin() as connection:
                    renew_leases(connection, held, self._worker_id, self.seconds)
            except DBAPIError as error:
                log.warning("leases_not_renewed", batches=len(held), reason=str(error.orig).strip())
