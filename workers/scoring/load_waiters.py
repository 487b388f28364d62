"""Which batches may wait for a model that is being loaded: never all of the live ones."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fakesweep.schema.queues import LIVE_SLOTS
from fakesweep.schema.words import Lane


class LoadWaiters:
    """Counts live batches that wait for models, so that a slot is left for those that need not.

    Bulk ones may all wait, in slots of their own. One from quarantine may not: nothing else would
    be worked on meanwhile.
    """

    def __init__(self, live_slots: int = LIVE_SLOTS) -> None:
        self._lock = threading.Lock()
        self._free = live_slots - 1

    @contextmanager
    def place(self, lane: Lane) -> Iterator[bool]:
        """Say whether a batch may wait for as long as the context lasts."""
        if lane is not Lane.LIVE:
            yield lane is Lane.BULK
            return
        with self._lock:
            may_wait = self._free > 0
            self._free -= may_wait
        try:
            yield may_wait
        finally:
            with self._lock:
                self._free += may_wait
