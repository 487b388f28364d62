"""Supervision of the local stack by the processes that use it: dead servers are restarted."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from fakesweep.extras import require_worker_extra
from fakesweep.schema.errors import FakesweepError
from fakesweep.schema.settings import Settings
from fakesweep.stack import revive_stack, start_stack, used_stack
from fakesweep.stack.cluster import check_it_exists

LOOK_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0

log = structlog.get_logger(__name__)


@contextmanager
def kept_stack(settings: Settings, what: str) -> Iterator[Settings]:
    """Yield the settings with both URLs filled in, with the local stack running.

    Within the context this process is registered as `what`, and a thread restarts servers that die
    at their old addresses. Servers that `fakesweep down` stops stay stopped.

    Raises:
        StackError: the stack cannot be started.
        MigrationError: a newer fakesweep made the database.
    """
    if settings.names_cluster:
        yield settings
        return
    with used_stack(settings, what):
        started = start_stack(settings)
        stop = threading.Event()
        thread = threading.Thread(target=_keep, args=(settings, stop), name="stack", daemon=True)
        thread.start()
        try:
            yield started
        finally:
            stop.set()


@contextmanager
def stack_to_go_on(settings: Settings, about: str, *, detach: bool) -> Iterator[Settings]:
    """Yield the settings of the cluster or local stack on which a command resumes a scan.

    Raises:
        FakesweepError: there is no local stack yet, or the worker extra is not installed.
    """
    if not settings.names_cluster:
        if not detach:
            require_worker_extra()
        if settings.database_url is None:
            check_it_exists(settings)
    with kept_stack(settings, about) as found:
        yield found


def _keep(settings: Settings, stop: threading.Event) -> None:
    pause = LOOK_SECONDS
    while not stop.wait(pause):
        try:
            revived = revive_stack(settings)
        except FakesweepError as error:
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            log.warning("server_cannot_be_started_again", reason=str(error))
        else:
            pause = LOOK_SECONDS
            if revived:
                log.warning("servers_started_again", servers=revived)
