"""Fatal ends of a worker process: a vital thread died, or the device hangs."""

import os
import threading
from collections.abc import Callable
from typing import NoReturn

import structlog

EXIT_STATUS = 70

log = structlog.get_logger(__name__)


def vital_thread(name: str, work: Callable[[], None]) -> threading.Thread:
    """Return an unstarted daemon thread; an exception in it ends the process.

    Without that thread the worker would look alive and do nothing. Other workers take its
    batches once their leases expire.
    """

    def run() -> None:
        try:
            work()
        except BaseException:
            log.critical("vital_thread_died", thread=name, exc_info=True)
            os._exit(EXIT_STATUS)

    return threading.Thread(target=run, name=name, daemon=True)


def end_for_stuck_device(seconds: float) -> NoReturn:
    """End the process after one device call has hung for `seconds`."""
    log.critical("device_stuck", seconds=round(seconds, 1))
    os._exit(EXIT_STATUS)
