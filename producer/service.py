"""The producer at work: one thread lists, one loop publishes and reconciles, until told to stop."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from uuid import UUID, uuid4

import structlog
from sqlalchemy.exc import SQLAlchemyError

import schema
from producer.feeder import list_scan, publish_recorded, reconcile
from producer.scans import Producer
from schema.database import first_line, may_pass
from schema.errors import BrokerError, FakesweepError
from schema.ledger import scans_to_list
from schema.pulse import Pulse, Role, beating
from schema.registry import producer_seen, retire_producer
from schema.reports import progress
from schema.words import ScanState

PAUSE_SECONDS = 0.2
RECONCILE_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 10.0

log = structlog.get_logger(__name__)


def serve(producer: Producer, stop: threading.Event, only: int | None = None) -> None:
    """List, record, publish and reconcile until `stop` is set; it is set on leaving.

    With `only`, work for that scan and return when it is finished or cancelled. A database or
    broker that stops answering is waited for, with a line in the log now and then.

    Raises:
        SourceError: with `only`, a source of that scan cannot be listed any further.
        ScanError: with `only`, a source of that scan can be listed on another machine only.
    """
    producer_id = uuid4()
    pulse = Pulse(Role.PRODUCER)
    with (
        ThreadPoolExecutor(1, thread_name_prefix="listing") as thread,
        beating(pulse) if only is None else nullcontext(),
    ):
        try:
            if only is None:
                listing = thread.submit(_list_all, producer, stop)
            else:
                listing = thread.submit(_list_one, producer, stop, only)
            for _ in _published(producer, stop, only, producer_id):
                pulse.tick()
                if listing.done():
                    listing.result()
        finally:
            stop.set()
            with suppress(SQLAlchemyError), producer.engine.begin() as connection:
                retire_producer(connection, producer_id)


def _published(
    producer: Producer, stop: threading.Event, only: int | None, producer_id: UUID
) -> Iterator[None]:
    """Publish and reconcile again and again; yield after each time."""
    waiting, next_reconcile = Waiting(stop), 0.0
    while not stop.is_set():
        try:
            publish_recorded(producer, only)
            if time.monotonic() >= next_reconcile:
                _say_alive(producer, producer_id)
                next_reconcile = time.monotonic() + RECONCILE_SECONDS
                reconcile(producer)
            if only is not None and _has_ended(producer, only):
                return
            waiting.is_over()
        except BrokerError as error:
            waiting.wait("broker", str(error))
        except SQLAlchemyError as error:
            waiting.wait_for_ledger(error)
            # Workers that waited for the ledger, too, renew their leases first.
            next_reconcile = time.monotonic() + producer.settings.lease_seconds / 2
        yield
        producer.recorded.wait(PAUSE_SECONDS)
        producer.recorded.clear()


def _list_one(producer: Producer, stop: threading.Event, scan_id: int) -> None:
    waiting = Waiting(stop)
    while not stop.is_set():
        try:
            list_scan(producer, scan_id, stop)
            if _is_listed(producer, scan_id):
                return
            stop.wait(PAUSE_SECONDS)  # somebody else lists it, or it is paused
        except SQLAlchemyError as error:
            waiting.wait_for_ledger(error)


def _list_all(producer: Producer, stop: threading.Event) -> None:
    waiting = Waiting(stop)
    while not stop.is_set():
        refused = False
        try:
            with producer.engine.connect() as connection:
                scans = scans_to_list(connection, socket.gethostname())
            for scan_id in scans:
                refused = _is_refused(producer, scan_id, stop) or refused
        except SQLAlchemyError as error:
            waiting.wait_for_ledger(error)
            continue
        if refused:
            waiting.wait("sources", "some scans cannot be listed")
        else:
            waiting.is_over()
            stop.wait(PAUSE_SECONDS)


def _is_refused(producer: Producer, scan_id: int, stop: threading.Event) -> bool:
    try:
        list_scan(producer, scan_id, stop)
    except FakesweepError as error:
        log.error("scan_cannot_be_listed", scan_id=scan_id, reason=str(error))
        return True
    return False


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
        self._seconds = 0.0


def _say_alive(producer: Producer, producer_id: UUID) -> None:
    with producer.engine.begin() as connection:
        producer_seen(
            connection, producer_id, hostname=socket.gethostname(), pid=os.getpid(),
            version=schema.__version__,
        )  # fmt: skip


def _is_listed(producer: Producer, scan_id: int) -> bool:
    with producer.engine.connect() as connection:
        return progress(connection, scan_id).listed_at is not None


def _has_ended(producer: Producer, scan_id: int) -> bool:
    with producer.engine.connect() as connection:
        return ScanState(progress(connection, scan_id).state).is_last
