"""Shared-exclusive lock of a worker's batches: a quarantined batch runs alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SharedExclusiveLock:
    """Lock with many shared holders or one exclusive holder.

    A waiting exclusive request blocks new shared holders.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._shared_holders = 0
        self._waiting_exclusive = 0
        self._is_exclusive = False

    @contextmanager
    def taken(self, *, alone: bool) -> Iterator[None]:
        """Hold the lock for the context, exclusively where `alone`."""
        with self._exclusive() if alone else self._shared():
            yield

    @contextmanager
    def _shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_exclusive and not self._waiting_exclusive)
            self._shared_holders += 1
        try:
            yield
        finally:
            with self._changed:
                self._shared_holders -= 1
                self._changed.notify_all()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._changed:
            self._waiting_exclusive += 1
            self._changed.wait_for(lambda: not self._is_exclusive and not self._shared_holders)
            self._waiting_exclusive -= 1
            self._is_exclusive = True
        try:
            yield
        finally:
            with self._changed:
                self._is_exclusive = False
                self._changed.notify_all()
