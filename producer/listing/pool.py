"""Lister pool: one thread for each scan, live scans first."""

import math
import socket
import threading
import time
from collections.abc import Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fakesweep.producer.backoff import PAUSE_SECONDS, Backoff
from fakesweep.producer.listing.scan import list_scan
from fakesweep.producer.resources import Producer
from fakesweep.producer.watchdog import Watchdog, progressed
from fakesweep.schema.errors import FakesweepError
from fakesweep.schema.failures import ImageFailure
from fakesweep.schema.ledger.connection import first_line, may_pass
from fakesweep.schema.ledger.scans.listing_errors import record_trouble
from fakesweep.schema.ledger.scans.scans import ListingDue, listings_due
from fakesweep.schema.net.storage import one_line
from fakesweep.schema.telemetry.heartbeat import LISTING
from fakesweep.schema.words import Lane

RETRY_SECONDS = 1.0
"""Pause before a scan is retried that another process lists, or after a ledger outage."""

LONGEST_PAUSE_SECONDS = 30.0
"""Limit of the growing pause before a failed listing is retried."""

SHUTDOWN_SECONDS = 5.0
LIVE_SHARE = 4
"""One in four listers is reserved for live scans."""

MAX_REASON_LETTERS = 1_000

log = structlog.get_logger(__name__)


class Listers:
    """Lister threads, `settings.listers` at most; each lists one scan."""

    def __init__(self, producer: Producer, stop: threading.Event, watchdog: Watchdog) -> None:
        self._producer = producer
        self._stop = stop
        self._watchdog = watchdog
        self._running: dict[int, tuple[threading.Thread, bool]] = {}
        self._not_before: dict[int, float] = {}

    def begin(self, due: Sequence[ListingDue]) -> None:
        """Start a lister for each due scan, in order, while there is room."""
        self._running = {
            scan_id: one for scan_id, one in self._running.items() if one[0].is_alive()
        }
        now = time.monotonic()
        self._not_before = {scan_id: at for scan_id, at in self._not_before.items() if at > now}
        for scan_id, lane in due:
            is_live = lane is Lane.LIVE
            is_free = scan_id not in self._running and scan_id not in self._not_before
            if is_free and self._has_room(is_live=is_live):
                thread = threading.Thread(
                    target=self._list, args=(scan_id,), name=f"lister-{scan_id}", daemon=True
                )
                self._running[scan_id] = thread, is_live
                thread.start()

    def shut_down(self) -> None:
        """Join the listers, up to `SHUTDOWN_SECONDS`."""
        ends_at = time.monotonic() + SHUTDOWN_SECONDS
        for thread, _ in self._running.values():
            thread.join(max(0.0, ends_at - time.monotonic()))

    def _has_room(self, *, is_live: bool) -> bool:
        listers = self._producer.settings.listers
        if len(self._running) >= listers:
            return False
        others = sum(not live for _, live in self._running.values())
        return is_live or others < listers - math.ceil(listers / LIVE_SHARE)

    def _list(self, scan_id: int) -> None:
        with self._watchdog.watched(f"{LISTING} {scan_id}"):
            try:
                if list_scan(self._producer, scan_id, self._stop):
                    return
            except Exception as error:  # noqa: BLE001 - one scan's error ends no other
                if not waits_for_ledger_after(error):
                    set_aside(self._producer, scan_id, error)
        self._not_before[scan_id] = time.monotonic() + RETRY_SECONDS


def run_listers(producer: Producer, stop: threading.Event, watchdog: Watchdog) -> None:
    """List the due scans of this machine in parallel until `stop` is set.

    A scan whose listing fails is set aside with the reason and retried later.

    Raises:
        SQLAlchemyError: the query for due scans fails permanently.
    """
    backoff, listers = Backoff(stop), Listers(producer, stop, watchdog)
    hostname = socket.gethostname()
    try:
        while not stop.is_set():
            try:
                with producer.engine.connect() as connection:
                    due = listings_due(connection, hostname)
            except SQLAlchemyError as error:
                backoff.wait_for_ledger(error)
                continue
            listers.begin(due)
            backoff.is_over()
            stop.wait(PAUSE_SECONDS)
    finally:
        if stop.is_set():
            listers.shut_down()


def waits_for_ledger_after(error: Exception) -> bool:
    """Return whether an error is an outage of the ledger, which passes."""
    if not isinstance(error, SQLAlchemyError) or not may_pass(error):
        return False
    log.warning("listing_interrupted", reason=first_line(error))
    return True


def set_aside(producer: Producer, scan_id: int, error: Exception) -> None:
    """Record why a listing failed; the pause before its retry grows with the failure's age.

    Scans without a failure go first.
    """
    reason = listing_error_text(error)
    if isinstance(error, FakesweepError | ImageFailure | SQLAlchemyError):
        log.error("scan_cannot_be_listed", scan_id=scan_id, reason=reason)
    else:
        log.error("scan_cannot_be_listed", scan_id=scan_id, reason=reason, exc_info=error)
    try:
        with producer.engine.begin() as connection:
            record_trouble(connection, scan_id, reason, LONGEST_PAUSE_SECONDS)
    except SQLAlchemyError as away:
        log.warning("trouble_not_recorded", scan_id=scan_id, reason=first_line(away))
    progressed()


def listing_error_text(error: Exception) -> str:
    """Return the reason of a failed listing in one line."""
    match error:
        case FakesweepError() | ImageFailure():
            said = str(error)
        case SQLAlchemyError():
            said = f"the ledger refuses what its sources say: {first_line(error)}"
        case _:
            said = f"its listing ended unexpectedly: {type(error).__name__}: {error}"
    return one_line(said, MAX_REASON_LETTERS)
