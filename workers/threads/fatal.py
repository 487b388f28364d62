"""Loud ends of a worker that cannot make progress: a thread it needs died, or its device hangs."""

import os
import threading
from collections.abc import Callable
from typing import NoReturn

import structlog

EXIT_STATUS = 70

log = structlog.get_logger(__name__)


def vital_thread(name: str, work: Callable[[], None]) -> threading.Thread:
    """Return a daemon thread, not yet started, whose death by an exception ends the process.

    A worker without it would look alive and do nothing. Its batches run elsewhere when their
    leases run out.
    """

    def run() -> None:
        try:
            work()
        except BaseException:
            log.critical("vital_thread_died", thread=name, exc_info=True)
            os._exit(EXIT_STATUS)

    return threading.Thread(target=run, name=name, daemon=True)


def end_for_stuck_device(seconds: float) -> NoReturn:
    """End the process, whose device has not come back from one call for so long."""
    log.critical("device_stuck", seconds=round(seconds, 1))
    os._exit(EXIT_STATUS)
