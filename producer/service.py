"""Producer service: lister threads, job threads, and one loop that publishes and reconciles.

An error of one scan, row or job is logged and retried; the others go on. The service itself fails
if it cannot start, if a thread ends unexpectedly, or if its only scan cannot go on.
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
from fakesweep.producer.listing.pool import listing_error_text, run_listers, set_aside
from fakesweep.producer.listing.scan import list_scan
from fakesweep.producer.outputs.writer import write_outputs
from fakesweep.producer.resources import Producer
from fakesweep.producer.schedules.firing import keep_schedules
from fakesweep.producer.uploads.group_commit import close_past_scans
from fakesweep.producer.watchdog import Watchdog
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
"""Jobs of every service; each has its own thread."""

SLACK_SECONDS = 120.0
"""Time beyond the list timeout before a silent thread counts as stuck."""

log = structlog.get_logger(__name__)


def serve(producer: Producer, stop: threading.Event, only: int | None = None) -> None:
    """List, record, publish and reconcile until `stop` is set; set `stop` on return.

    With `only`, serve that scan and return once it is finished or cancelled. Outages of database
    and broker are waited out with backoff.

    Raises:
        SourceError: with `only`, listing a source of that scan fails.
        ScanError: with `only`, another machine has to list a source of that scan.
    """
    if only is None:
        _store_policies(producer)
    producer_id, watchdog = uuid4(), Watchdog()
    # Spooling a remote list may take up to the list timeout without progress.
    heartbeat = Heartbeat(
        Role.PRODUCER, step_seconds=producer.settings.list_timeout_seconds + SLACK_SECONDS
    )

    def refresh(heartbeat: Heartbeat) -> None:
        heartbeat.threads = watchdog.all()

    with (
        ThreadPoolExecutor(1 + len(JOBS), thread_name_prefix="producer") as threads,
        beating(heartbeat, refresh) if only is None else nullcontext(),
    ):
        try:
            futures = _begun(threads, producer, stop, only, watchdog)
            for _ in _publish_rounds(producer, stop, only, producer_id):
                heartbeat.tick()
                for future in futures:
                    if future.done():
                        future.result()
        finally:
            stop.set()
            with suppress(SQLAlchemyError), producer.engine.begin() as connection:
                retire_producer(connection, producer_id)


def _store_policies(producer: Producer) -> None:
    """Store the catalogue's policies; roles without the right to add policies use them too."""
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
    watchdog: Watchdog,
) -> list[Future[None]]:
    if only is not None:
        return [
            threads.submit(_list_one, producer, stop, only),
            threads.submit(write_outputs, producer, stop, only),
        ]
    jobs: dict[str, Job] = {"listers": partial(run_listers, watchdog=watchdog), **JOBS}
    return [
        threads.submit(_run_job, name, job, producer, stop, watchdog) for name, job in jobs.items()
    ]


def _run_job(
    name: str, job: Job, producer: Producer, stop: threading.Event, watchdog: Watchdog
) -> None:
    """Run a job until `stop` is set; restart it with backoff after an error."""
    backoff, before = Backoff(stop), ""
    with watchdog.watched(name):
        while not stop.is_set():
            try:
                job(producer, stop)
            except Exception as error:
                reason = repr(error)
                if reason != before:
                    log.exception("job_failed", job=name)
                before = reason
                backoff.wait(name, reason)


def _publish_rounds(
    producer: Producer, stop: threading.Event, only: int | None, producer_id: UUID
) -> Iterator[None]:
    """Publish and reconcile in rounds; yield after each round."""
    backoff, next_reconcile = Backoff(stop), 0.0
    while not stop.is_set():
        try:
            publish_recorded(producer, only)
            if time.monotonic() >= next_reconcile:
                _record_producer(producer, producer_id)
                next_reconcile = time.monotonic() + RECONCILE_SECONDS
                _reconcile(producer)
            if only is not None and _has_ended(producer, only):
                return
            backoff.is_over()
        except BrokerError as error:
            backoff.wait(BROKER, str(error))
        except Exception as error:
            if not isinstance(error, SQLAlchemyError) or not may_pass(error):
                if only is not None:
                    raise
                log.exception("publishing_failed")
                backoff.wait("publishing", repr(error))
                continue  # a failed round is no progress
            backoff.wait_for_ledger(error)
            # Workers wait for the ledger too, and renew their leases first.
            next_reconcile = time.monotonic() + producer.settings.lease_seconds / 2
        yield
        producer.recorded.wait(PAUSE_SECONDS)
        producer.recorded.clear()


def _reconcile(producer: Producer) -> None:
    """Reconcile; a permanent error is logged, so that publishing goes on."""
    try:
        reconcile(producer)
    except BrokerError:
        raise
    except Exception as error:
        if isinstance(error, SQLAlchemyError) and may_pass(error):
            raise
        log.exception("reconciling_failed")


def _list_one(producer: Producer, stop: threading.Event, scan_id: int) -> None:
    backoff = Backoff(stop)
    while not stop.is_set():
        try:
            list_scan(producer, scan_id, stop)
            if _is_listed(producer, scan_id):
                return
            backoff.is_over()
            stop.wait(PAUSE_SECONDS)  # another process lists it, or it is paused
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and may_pass(error):
                backoff.wait_for_ledger(error)
                continue
            set_aside(producer, scan_id, error)
            if isinstance(error, FakesweepError):
                raise
            raise ScanError(listing_error_text(error)) from error


def _record_producer(producer: Producer, producer_id: UUID) -> None:
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
