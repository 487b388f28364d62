"""Listers: scans listed side by side, live ones first, none in the way of another."""

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
from fakesweep.producer.watchdog import Beats, progressed
from fakesweep.schema.errors import FakesweepError
from fakesweep.schema.failures import ImageFailure
from fakesweep.schema.ledger.connection import first_line, may_pass
from fakesweep.schema.ledger.scans.listing_errors import record_trouble
from fakesweep.schema.ledger.scans.scans import ListingDue, listings_due
from fakesweep.schema.net.storage import one_line
from fakesweep.schema.telemetry.heartbeat import LISTING
from fakesweep.schema.words import Lane

AGAIN_SECONDS = 1.0
"""When a scan is looked at again that another process lists, or whose ledger was away."""

LONGEST_PAUSE_SECONDS = 30.0
"""A scan that cannot be listed is tried again, after longer each time, up to this."""

LEAVE_SECONDS = 5.0
LIVE_SHARE = 4
"""One in so many listers is kept for live scans."""

MAX_REASON_LETTERS = 1_000

log = structlog.get_logger(__name__)


class Listers:
    """Threads that list one scan each, `settings.listers` at most."""

    def __init__(self, producer: Producer, stop: threading.Event, beats: Beats) -> None:
        self._producer = producer
        self._stop = stop
        self._beats = beats
        self._at_work: dict[int, tuple[threading.Thread, bool]] = {}
        self._not_before: dict[int, float] = {}

    def begin(self, due: Sequence[ListingDue]) -> None:
        """List those of the scans that are due, in their order, for which there is a lister."""
        self._at_work = {
            scan_id: one for scan_id, one in self._at_work.items() if one[0].is_alive()
        }
        now = time.monotonic()
        self._not_before = {scan_id: at for scan_id, at in self._not_before.items() if at > now}
        for scan_id, lane in due:
            is_live = lane is Lane.LIVE
            is_free = scan_id not in self._at_work and scan_id not in self._not_before
            if is_free and self._has_room(is_live=is_live):
                thread = threading.Thread(
                    target=self._list, args=(scan_id,), name=f"lister-{scan_id}", daemon=True
                )
                self._at_work[scan_id] = thread, is_live
                thread.start()

    def leave(self) -> None:
        """Wait a little for the listers, who have been told to stop."""
        ends_at = time.monotonic() + LEAVE_SECONDS
        for thread, _ in self._at_work.values():
            thread.join(max(0.0, ends_at - time.monotonic()))

    def _has_room(self, *, is_live: bool) -> bool:
        listers = self._producer.settings.listers
        if len(self._at_work) >= listers:
            return False
        others = sum(not live for _, live in self._at_work.values())
        return is_live or others < listers - math.ceil(listers / LIVE_SHARE)

    def _list(self, scan_id: int) -> None:
        with self._beats.watched(f"{LISTING} {scan_id}"):
            try:
                if list_scan(self._producer, scan_id, self._stop):
                    return
            except Exception as error:  # noqa: BLE001 - no scan ends the others
                if not waits_for_ledger_after(error):
                    set_aside(self._producer, scan_id, error)
        self._not_before[scan_id] = time.monotonic() + AGAIN_SECONDS


def list_scans(producer: Producer, stop: threading.Event, beats: Beats) -> None:
    """List every scan that this machine can, side by side, until `stop` is set.

    One that cannot be listed is set aside with its reason, tried again later, and keeps nobody
    from the others.

    Raises:
        SQLAlchemyError: the ledger refuses to say what is due.
    """
    waiting, listers = Backoff(stop), Listers(producer, stop, beats)
    hostname = socket.gethostname()
    try:
        while not stop.is_set():
            try:
                with producer.engine.connect() as connection:
                    due = listings_due(connection, hostname)
            except SQLAlchemyError as error:
                waiting.wait_for_ledger(error)
                continue
            listers.begin(due)
            waiting.is_over()
            stop.wait(PAUSE_SECONDS)
    finally:
        if stop.is_set():
            listers.leave()


def waits_for_ledger_after(error: Exception) -> bool:
    """Say whether a listing only has to wait for the ledger."""
    if not isinstance(error, SQLAlchemyError) or not may_pass(error):
        return False
    log.warning("listing_interrupted", reason=first_line(error))
    return True


def set_aside(producer: Producer, scan_id: int, error: Exception) -> None:
    """Record why a scan cannot be listed; it is tried again after as long as that has been so.

    Then scans that can be listed go first.
    """
    reason = reason_of(error)
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


def reason_of(error: Exception) -> str:
    """Return in one line why a scan cannot be listed."""
    match error:
        case FakesweepError() | ImageFailure():
            said = str(error)
        case SQLAlchemyError():
            said = f"the ledger refuses what its sources say: {first_line(error)}"
        case _:
            said = f"its listing ended unexpectedly: {type(error).__name__}: {error}"
    return one_line(said, MAX_REASON_LETTERS)
