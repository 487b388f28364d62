"""A scan run to its end: the producer's service in a thread, a worker process, progress."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import click
from sqlalchemy.exc import SQLAlchemyError

from fakesweep.foreground.progress import Show
from fakesweep.foreground.worker_process import Worker, running_worker
from fakesweep.producer.outputs.writer import finish_output
from fakesweep.producer.resources import Producer
from fakesweep.producer.service import serve
from fakesweep.schema.errors import FakesweepError, OutputError, ScanError
from fakesweep.schema.ledger.connection import may_pass
from fakesweep.schema.ledger.registry.processes import LIVE_SECONDS, workers_seen
from fakesweep.schema.ledger.reports.progress import Progress, progress
from fakesweep.schema.words import ScanState

POLL_SECONDS = 0.25
JOIN_SECONDS = 3.0
WORKER_MISSED_AFTER_SECONDS = 5.0

HALTED = (ScanState.PAUSED, ScanState.CANCELLED)
"""States in which a scan is not waited for."""


class Service:
    """The producer's service for one scan, in a thread that ends with the scan or at `stop`."""

    def __init__(self, producer: Producer, scan_id: int) -> None:
        self.stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(
            target=self._serve, args=(producer, scan_id), name="producer", daemon=True
        )
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait for the thread; raise its exception."""
        self._thread.join(seconds)
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Stop the thread and wait `JOIN_SECONDS` at most: it may block on standard input."""
        self.stop.set()
        self._thread.join(JOIN_SECONDS)

    def _serve(self, producer: Producer, scan_id: int) -> None:
        try:
            serve(producer, self.stop, scan_id)
        except BaseException as error:  # noqa: BLE001 - `wait` raises it again
            self._failure = error


@contextmanager
def brought_to_end(
    producer: Producer, scan_id: int, told: threading.Event, show: Show, *, with_worker: bool
) -> Iterator[Progress | None]:
    """Run a scan to its end; yield its progress, None if it is interrupted or unknown.

    The scan is finished and its output written, unless `told` was set, or the scan was paused or
    cancelled. `show` is called with the progress. A worker process, if any, is told to stop before
    the yield, and has ended after the context.

    Raises:
        OutputError: the scan is finished, but its output cannot be written.
        ScanError: the scan cannot go on; the message has the reason and the command to resume.
    """
    with ExitStack() as resources:
        try:
            worker = _start_worker(resources, producer, scan_id) if with_worker else None
            last = _wait_for_end(producer, scan_id, worker, told, show)
            if worker is not None:
                worker.tell()
            if last is not None and ScanState(last.state).is_last:
                is_complete = finish_output(producer, scan_id, told)
                if last.state == ScanState.FINISHED and not is_complete:
                    last = None
        except OutputError:
            raise
        except FakesweepError as error:
            raise ScanError(
                f"scan {scan_id} stopped: {error}; `fakesweep resume {scan_id}` goes on with it"
            ) from error
        yield last


def _start_worker(resources: ExitStack, producer: Producer, scan_id: int) -> Worker | None:
    with producer.engine.connect() as connection:
        now = progress(connection, scan_id)
    if ScanState(now.state).is_last:
        return None
    return resources.enter_context(running_worker(producer.settings, now.models, scan_id))


def _wait_for_end(
    producer: Producer, scan_id: int, worker: Worker | None, told: threading.Event, show: Show
) -> Progress | None:
    missed_at = time.monotonic() + WORKER_MISSED_AFTER_SECONDS
    with closing(Service(producer, scan_id)) as service:
        while service.is_running and not told.is_set():
            service.wait(POLL_SECONDS)
            now = _progress(producer, scan_id)
            if now is not None:
                show(now)
                if now.state in HALTED:
                    return now
            if worker is not None:
                worker.check()
            elif now is not None and now.pending and time.monotonic() > missed_at:
                missed_at = float("inf")
                _say_if_no_worker(producer)
        if not told.is_set():
            service.wait(0)
        elif worker is not None:
            click.echo("stopping after the batches in work; Ctrl-C again leaves them", err=True)
    return _progress(producer, scan_id)


def _progress(producer: Producer, scan_id: int) -> Progress | None:
    """Return the progress, None while the database does not answer, which the service awaits."""
    try:
        with producer.engine.connect() as connection:
            return progress(connection, scan_id)
    except SQLAlchemyError as error:
        if not may_pass(error):
            raise
        return None


def _say_if_no_worker(producer: Producer) -> None:
    with producer.engine.connect() as connection:
        seen = workers_seen(connection, LIVE_SECONDS)
    if seen == 0:
        click.echo(
            f"fakesweep: no worker has been seen on this cluster for {LIVE_SECONDS:.0f} s; the "
            f"images wait until one runs (`fakesweep worker`)",
            err=True,
        )
