"""Keeping the local stack up for a process at work: a server that dies is started again."""

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
    """Yield the settings with both URLs filled in, which hold for as long as the context lasts.

    The local stack is started. Until the end this process is known as `what` to whoever stops it,
    and servers that die are started again where they were; those that `down` stops are not.

    Raises:
        StackError: the stack cannot be started.
        MigrationError: the database was made by a newer fakesweep.
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
    """Yield the settings by which a command goes on with a scan: the cluster's, or the stack's.

    Raises:
        FakesweepError: on the local stack there is nothing yet, or no worker could be run.
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
