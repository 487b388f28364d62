"""Threads a worker cannot do without: where one of them dies, the process ends, loudly."""

import os
import threading
from collections.abc import Callable

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
