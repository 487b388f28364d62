"""Admission of batches that wait for a loading model: never all live slots at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fakesweep.schema.queues import LIVE_SLOTS
from fakesweep.schema.words import Lane


class LoadWaiters:
    """Limits the live batches that wait for models, which keeps a slot for ready ones.

    Bulk batches may all wait, in their own slots. A quarantined batch may not wait: it runs alone
    and would block the worker.
    """

    def __init__(self, live_slots: int = LIVE_SLOTS) -> None:
        self._lock = threading.Lock()
        self._free = live_slots - 1

    @contextmanager
    def place(self, lane: Lane) -> Iterator[bool]:
        """Yield whether a batch may wait within the context."""
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
