"""The producer at work: one thread lists, one loop publishes and reconciles, until told to stop."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from uuid import UUID, uuid4

import structlog
from sqlalchemy.exc import SQLAlchemyError

import schema
from producer.feeder import publish_recorded, reconcile
from producer.listing import list_scan
from producer.outputs.writing import write_outputs
from producer.scans import Producer
from producer.schedules import keep_schedules
from producer.uploads.gathering import close_past_scans
from producer.waiting import PAUSE_SECONDS, Waiting
from producer.webhooks import deliver_webhooks
from schema.database import explained
from schema.errors import BrokerError, FakesweepError
from schema.ledger import scans_to_list
from schema.pulse import Pulse, Role, beating
from schema.registry import policy_id, producer_seen, retire_producer
from schema.reports import progress
from schema.words import ScanState

RECONCILE_SECONDS = 5.0

DUTIES = (keep_schedules, close_past_scans, write_outputs, deliver_webhooks)
"""What every service does besides, each on a thread of its own until it is told to stop."""

log = structlog.get_logger(__name__)


def serve(producer: Producer, stop: threading.Event, only: int | None = None) -> None:
    """List, record, publish and reconcile until `stop` is set; it is set on leaving.

    With `only`, work for that scan and return when it is finished or cancelled. A database or
    broker that stops answering is waited for, with a line in the log now and then.

    Raises:
        SourceError: with `only`, a source of that scan cannot be listed any further.
        ScanError: with `only`, a source of that scan can be listed on another machine only.
    """
    if only is None:
        _settle_policies(producer)
    producer_id = uuid4()
    pulse = Pulse(Role.PRODUCER)
    with (
        ThreadPoolExecutor(1 + len(DUTIES), thread_name_prefix="producer") as threads,
        beating(pulse) if only is None else nullcontext(),
    ):
        try:
            at_work = _begun(threads, producer, stop, only)
            for _ in _published(producer, stop, only, producer_id):
                pulse.tick()
                for one in at_work:
                    if one.done():
                        one.result()
        finally:
            stop.set()
            with suppress(SQLAlchemyError), producer.engine.begin() as connection:
                retire_producer(connection, producer_id)


def _settle_policies(producer: Producer) -> None:
    """Have the catalogue's own cut points count, for those too who may not add them."""
    with (
        explained(producer.settings.database_url or ""),
        producer.engine.begin() as connection,
    ):
        for name, wanted in producer.catalogue.policies.items():
            policy_id(connection, name, wanted)


def _begun(
    threads: ThreadPoolExecutor, producer: Producer, stop: threading.Event, only: int | None
) -> list[Future[None]]:
    if only is not None:
        return [
            threads.submit(_list_one, producer, stop, only),
            threads.submit(write_outputs, producer, stop, only),
        ]
    duties = [threads.submit(duty, producer, stop) for duty in DUTIES]
    return [threads.submit(_list_all, producer, stop), *duties]


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
            waiting.is_over()
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
