"""The Celery app and the life of a worker process: everything opens before the first message."""

from contextlib import ExitStack
from typing import Any

import structlog
from celery import Celery, signals

from schema.errors import FakesweepError
from schema.logs import set_up_logging
from schema.queues import QUEUES, celery_settings
from schema.settings import Settings, read_settings, with_preset
from workers.work import Work, open_work

log = structlog.get_logger(__name__)

app = Celery("fakesweep", include=["workers.tasks"])


class _Process:
    """What this worker process runs by and works with; there is one, as Celery has one app."""

    settings: Settings
    work: Work | None = None
    resources = ExitStack()


def configure(settings: Settings) -> None:
    """Let the app run by these settings, and by their preset."""
    _Process.settings = with_preset(settings)
    app.conf.update(celery_settings(_Process.settings))


def current_work() -> Work:
    """Return what the worker process opened before its first message."""
    if _Process.work is None:
        raise RuntimeError("no work is open: tasks run in a Celery worker only")
    return _Process.work


def run_worker(settings: Settings) -> int:
    """Run a worker in this process until it is told to stop, and return its exit status.

    SIGTERM and Ctrl-C stop it after the batches in flight.

    Raises:
        FakesweepError: it cannot start; the message says why.
    """
    configure(settings)
    chatter = [] if settings.celery_events else ["gossip", "mingle", "heartbeat"]
    arguments = ["worker", "--queues", ",".join(QUEUES), *(f"--without-{word}" for word in chatter)]
    try:
        app.worker_main(arguments)
    except SystemExit as leaving:
        if isinstance(leaving.__cause__, FakesweepError):
            raise leaving.__cause__ from None
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    set_up_logging(_Process.settings)


@signals.worker_init.connect
def _open(**_: Any) -> None:
    set_up_logging(_Process.settings)
    try:
        _Process.work = _Process.resources.enter_context(open_work(_Process.settings))
    except FakesweepError as error:
        log.critical("worker_cannot_start", reason=str(error))
        raise SystemExit(1) from error


@signals.worker_shutdown.connect
def _close(**_: Any) -> None:
    _Process.work = None
    _Process.resources.close()


configure(read_settings())
