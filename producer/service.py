"""The producer at work: one thread lists, one loop publishes and reconciles, until told to stop."""

import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import structlog
from sqlalchemy.exc import OperationalError

from producer.feeder import list_scan, publish_recorded, reconcile
from producer.scans import Producer
from schema.errors import BrokerError, FakesweepError
from schema.ledger import scans_to_list
from schema.reports import progress
from schema.words import ScanState

PAUSE_SECONDS = 0.2
RECONCILE_SECONDS = 5.0
LONGEST_PATIENCE_SECONDS = 10.0

log = structlog.get_logger(__name__)


def serve(producer: Producer, stop: threading.Event, only: int | None = None) -> None:
    """List, record, publish and reconcile until `stop` is set; it is set on leaving.

    With `only`, work for that scan and return when it is finished. A database or broker that
    stops answering is waited for, with a line in the log each time.

    Raises:
        SourceError: with `only`, a source of that scan cannot be listed any further.
        ScanError: with `only`, a source of that scan can be listed on another machine only.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="listing") as thread:
        try:
            if only is None:
                listing = thread.submit(_list_all, producer, stop)
            else:
                listing = thread.submit(_list_one, producer, stop, only)
            _publish_until(producer, stop, only, listing)
        finally:
            stop.set()


def _publish_until(
    producer: Producer, stop: threading.Event, only: int | None, listing: Future[None]
) -> None:
    patience, next_reconcile = 0.0, 0.0
    while not stop.is_set():
        if listing.done():
            listing.result()
        try:
            publish_recorded(producer, only)
            if time.monotonic() >= next_reconcile:
                reconcile(producer)
                next_reconcile = time.monotonic() + RECONCILE_SECONDS
            if only is not None and _finished(producer, only):
                return
            patience = 0.0
        except (BrokerError, OperationalError) as error:
            patience = _wait_longer(stop, patience, error)
        producer.recorded.wait(PAUSE_SECONDS)
        producer.recorded.clear()


def _list_one(producer: Producer, stop: threading.Event, scan_id: int) -> None:
    patience = 0.0
    while not stop.is_set():
        try:
            if list_scan(producer, scan_id, stop):
                return
            stop.wait(PAUSE_SECONDS)
        except OperationalError as error:
            patience = _wait_longer(stop, patience, error)


def _list_all(producer: Producer, stop: threading.Event) -> None:
    patience = 0.0
    while not stop.is_set():
        refused: Exception | None = None
        try:
            with producer.engine.connect() as connection:
                scans = scans_to_list(connection, socket.gethostname())
            for scan_id in scans:
                refused = _refusal(producer, scan_id, stop) or refused
            if refused is None:
                patience = 0.0
                stop.wait(PAUSE_SECONDS)
        except OperationalError as error:
            refused = error
        if refused is not None:
            patience = _wait_longer(stop, patience, refused)


def _refusal(producer: Producer, scan_id: int, stop: threading.Event) -> FakesweepError | None:
    try:
        list_scan(producer, scan_id, stop)
    except FakesweepError as error:
        log.error("scan_cannot_be_listed", scan_id=scan_id, reason=str(error))
        return error
    return None


def _wait_longer(stop: threading.Event, patience: float, error: Exception) -> float:
    patience = min(LONGEST_PATIENCE_SECONDS, max(PAUSE_SECONDS, patience * 2))
    log.warning("waiting", seconds=patience, reason=str(error).splitlines()[0])
    stop.wait(patience)
    return patience


def _finished(producer: Producer, scan_id: int) -> bool:
    with producer.engine.connect() as connection:
        return progress(connection, scan_id).state == ScanState.FINISHED
