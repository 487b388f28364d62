"""The producer at work: listers list, one loop publishes and reconciles, until told to stop.

What goes wrong with one scan, row or duty ends neither the others nor the service: it is logged,
tried again, and shown. The service ends loudly where it cannot begin, where one of its threads ends
by no error of its own, and where it works for one scan alone that cannot go on.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial
from uuid import UUID, uuid4

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fakesweep import schema
from fakesweep.producer.backoff import PAUSE_SECONDS, Backoff
from fakesweep.producer.feeder import publish_recorded, reconcile
from fakesweep.producer.listing.pool import list_scans, reason_of, set_aside
from fakesweep.producer.listing.scan import list_scan
from fakesweep.producer.outputs.writer import write_outputs
from fakesweep.producer.resources import Producer
from fakesweep.producer.schedules.firing import keep_schedules
from fakesweep.producer.uploads.group_commit import close_past_scans
from fakesweep.producer.watchdog import Beats
from fakesweep.producer.webhooks import deliver_webhooks
from fakesweep.schema.errors import BrokerError, FakesweepError, ScanError
from fakesweep.schema.ledger.connection import explained, may_pass
from fakesweep.schema.ledger.registry.policies import policy_id
from fakesweep.schema.ledger.registry.processes import producer_seen, retire_producer
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.telemetry.heartbeat import Heartbeat, beating
from fakesweep.schema.words import BROKER, Role, ScanState

RECONCILE_SECONDS = 5.0

Job = Callable[[Producer, threading.Event], None]

JOBS: dict[str, Job] = {
    "schedules": keep_schedules,
    "streams": close_past_scans,
    "outputs": write_outputs,
    "webhooks": deliver_webhooks,
}
"""What every service does besides, each on a thread of its own until it is told to stop."""

SLACK_SECONDS = 120.0

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
    producer_id, beats = uuid4(), Beats()
    # A copy of a list may take its time, and S3 then be asked as often as that is allowed.
    heartbeat = Heartbeat(
        Role.PRODUCER, step_seconds=producer.settings.list_timeout_seconds + SLACK_SECONDS
    )

    def look(heartbeat: Heartbeat) -> None:
        heartbeat.threads = beats.all()

    with (
        ThreadPoolExecutor(1 + len(JOBS), thread_name_prefix="producer") as threads,
        beating(heartbeat, look) if only is None else nullcontext(),
    ):
        try:
            at_work = _begun(threads, producer, stop, only, beats)
            for _ in _published(producer, stop, only, producer_id):
                heartbeat.tick()
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
    threads: ThreadPoolExecutor,
    producer: Producer,
    stop: threading.Event,
    only: int | None,
    beats: Beats,
) -> list[Future[None]]:
    if only is not None:
        return [
            threads.submit(_list_one, producer, stop, only),
            threads.submit(write_outputs, producer, stop, only),
        ]
    duties: dict[str, Job] = {"listers": partial(list_scans, beats=beats), **JOBS}
    return [
        threads.submit(_kept, name, duty, producer, stop, beats) for name, duty in duties.items()
    ]


def _kept(name: str, duty: Job, producer: Producer, stop: threading.Event, beats: Beats) -> None:
    """Do a duty until `stop` is set; where an error ends it, begin it again after a while."""
    waiting, before = Backoff(stop), ""
    with beats.watched(name):
        while not stop.is_set():
            try:
                duty(producer, stop)
            except Exception as error:
                reason = repr(error)
                if reason != before:
                    log.exception("duty_failed", duty=name)
                before = reason
                waiting.wait(name, reason)


def _published(
    producer: Producer, stop: threading.Event, only: int | None, producer_id: UUID
) -> Iterator[None]:
    """Publish and reconcile again and again; yield after each time."""
    waiting, next_reconcile = Backoff(stop), 0.0
    while not stop.is_set():
        try:
            publish_recorded(producer, only)
            if time.monotonic() >= next_reconcile:
                _say_alive(producer, producer_id)
                next_reconcile = time.monotonic() + RECONCILE_SECONDS
                _reconcile(producer)
            if only is not None and _has_ended(producer, only):
                return
            waiting.is_over()
        except BrokerError as error:
            waiting.wait(BROKER, str(error))
        except Exception as error:
            if not isinstance(error, SQLAlchemyError) or not may_pass(error):
                if only is not None:
                    raise
                log.exception("publishing_failed")
                waiting.wait("publishing", repr(error))
                continue  # nothing of this round counts as progress
            waiting.wait_for_ledger(error)
            # Workers that waited for the ledger, too, renew their leases first.
            next_reconcile = time.monotonic() + producer.settings.lease_seconds / 2
        yield
        producer.recorded.wait(PAUSE_SECONDS)
        producer.recorded.clear()


def _reconcile(producer: Producer) -> None:
    """Reconcile; what is wrong with a row there keeps no batch from being published."""
    try:
        reconcile(producer)
    except BrokerError:
        raise
    except Exception as error:
        if isinstance(error, SQLAlchemyError) and may_pass(error):
            raise
        log.exception("reconciling_failed")


def _list_one(producer: Producer, stop: threading.Event, scan_id: int) -> None:
    waiting = Backoff(stop)
    while not stop.is_set():
        try:
            list_scan(producer, scan_id, stop)
            if _is_listed(producer, scan_id):
                return
            waiting.is_over()
            stop.wait(PAUSE_SECONDS)  # somebody else lists it, or it is paused
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and may_pass(error):
                waiting.wait_for_ledger(error)
                continue
            set_aside(producer, scan_id, error)
            if isinstance(error, FakesweepError):
                raise
            raise ScanError(reason_of(error)) from error


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
