"""Turns of the batches in a worker: side by side, but one from quarantine has it all to itself."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SharedExclusiveLock:
    """Lets batches work together, or one alone; who wants to be alone waits for the others' end.

    While somebody waits to be alone, nobody else begins.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._wants_alone = 0
        self._is_alone = False

    @contextmanager
    def taken(self, *, alone: bool) -> Iterator[None]:
        """Wait for a turn, and have it for as long as the context lasts."""
        with self._alone() if alone else self._beside_others():
            yield

    @contextmanager
    def _beside_others(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_alone and not self._wants_alone)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._changed:
            self._wants_alone += 1
            self._changed.wait_for(lambda: not self._is_alone and not self._together)
            self._wants_alone -= 1
            self._is_alone = True
        try:
            yield
        finally:
            with self._changed:
                self._is_alone = False
                self._changed.notify_all()
