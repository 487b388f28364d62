"""Which batches may wait for a model that is being loaded: never so many that no slot is left."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from schema.queues import LIVE_SLOTS
from schema.words import Lane


class Waiters:
    """Counts batches that wait for models, live ones and others, and keeps a slot of each free."""

    def __init__(self, batches_in_flight: int) -> None:
        self._lock = threading.Lock()
        self._free = {True: LIVE_SLOTS - 1, False: batches_in_flight - 1}

    @contextmanager
    def place(self, lane: Lane) -> Iterator[bool]:
        """Say whether a batch may wait for as long as the context lasts.

        One from quarantine may not: nothing else would be worked on meanwhile.
        """
        is_live = lane is Lane.LIVE
        with self._lock:
            may_wait = self._free[is_live] > 0 and lane is not Lane.QUARANTINE
            self._free[is_live] -= may_wait
        try:
            yield may_wait
        finally:
            with self._lock:
                self._free[is_live] += may_wait
