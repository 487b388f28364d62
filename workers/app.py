"""Celery app and lifecycle of a worker process: resources open before the first message."""

import logging
import os
import signal
from typing import Any
from uuid import uuid4

import structlog
from celery import Celery, signals
from celery.utils.nodenames import default_nodename

from fakesweep.schema.errors import FakesweepError
from fakesweep.schema.queues import QUEUES, celery_settings
from fakesweep.schema.settings import Settings, read_settings, with_preset
from fakesweep.schema.telemetry.heartbeat import Phase, beating
from fakesweep.schema.telemetry.logs import set_up_logging
from fakesweep.workers.broker.dead_letters import DeadLetters
from fakesweep.workers.broker.log_filter import without_tracebacks
from fakesweep.workers.broker.process import process
from fakesweep.workers.models.quick_import import import_quickly
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.process.heartbeat import look_at, worker_heartbeat
from fakesweep.workers.process.shutdown import Shutdown
from fakesweep.workers.process.startup import open_work
from fakesweep.workers.threads.fatal import EXIT_STATUS

_REPLACED_LOGGERS = (
    "celery.worker.strategy",
    "celery.app.trace",
    "celery.worker.consumer.connection",
)
"""Celery's success messages, which are dropped; our events carry the batch id."""

log = structlog.get_logger(__name__)

app = Celery("fakesweep", include=["fakesweep.workers.tasks"])


def configure(settings: Settings) -> None:
    """Apply the settings and their preset to the app."""
    process.settings = with_preset(settings)
    app.conf.update(celery_settings(process.settings))
    app.conf.worker_consumer = "fakesweep.workers.broker.consumer:Consumer"
    app.steps["consumer"].add("fakesweep.workers.broker.consumer:Gate")


def current_work() -> Work:
    """Return the resources of this worker process, opened before its first message."""
    if process.work is None:
        raise RuntimeError("no work is open: tasks run in a Celery worker only")
    return process.work


def end_as_broken() -> None:
    """Shut this process down in order with a failure status, so its supervisor restarts it."""
    if not process.shutdown.exit_status:
        process.shutdown.exit_status = EXIT_STATUS
        os.kill(os.getpid(), signal.SIGTERM)


def run_worker(settings: Settings, only_scan_id: int | None = None) -> int:
    """Run a worker in this process until a signal stops it; return its exit status.

    SIGTERM and Ctrl-C stop it after the batches in flight. Batches unfinished at the end of the
    grace period, or at a second signal, are handed back. `only_scan_id` limits it to one scan.

    Raises:
        FakesweepError: the worker cannot start; the message says why.
    """
    configure(settings)
    process.only_scan_id = only_scan_id
    chatter = [] if settings.celery_events else ["gossip", "mingle", "heartbeat"]
    without = [f"--without-{word}" for word in chatter]
    try:
        app.worker_main(["--quiet", "worker", "--queues", ",".join(QUEUES), *without])
    except SystemExit as leaving:
        if isinstance(leaving.__cause__, FakesweepError):
            raise leaving.__cause__ from None
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return process.exit_status


@signals.celeryd_init.connect
def _name_node(instance: Any, **_: Any) -> None:
    """Give this worker an id, and a unique node name unless the user chose one."""
    process.worker_id = uuid4()  # after the fork, where a supervisor forks workers
    usual = default_nodename("")
    if instance.hostname == usual:
        instance.hostname = f"{usual}-{process.worker_id.hex[:8]}"


@signals.celeryd_init.connect
@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    set_up_logging(process.settings)
    logging.captureWarnings(True)
    for name in _REPLACED_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("celery.worker.consumer.consumer").setLevel(logging.ERROR)
    for handler in logging.getLogger().handlers:
        handler.addFilter(without_tracebacks)


@signals.worker_init.connect
def _open(**_: Any) -> None:
    process.heartbeat = worker_heartbeat(process.settings)
    process.resources.enter_context(beating(process.heartbeat, look_at(lambda: process.work)))
    import_quickly()
    try:
        work = process.resources.enter_context(
            open_work(process.settings, process.worker_id, process.only_scan_id)
        )
    except FakesweepError as error:
        log.critical("worker_cannot_start", reason=str(error))
        process.resources.close()
        raise SystemExit(1) from error
    process.dead_letters = process.resources.enter_context(
        DeadLetters(work.ledger_retry).recorded()
    )
    process.shutdown = Shutdown(process.settings.grace_seconds, work.hand_back)
    process.work = work
    process.heartbeat.enter(Phase.RUNNING)


@signals.worker_shutdown.connect
def _close(sender: Any, **_: Any) -> None:
    process.exit_status = process.shutdown.exit_status or sender.exitcode or 0
    sender.exitcode = process.exit_status  # the status of a plain `celery worker`
    process.work = None
    process.resources.close()


configure(read_settings())
