"""A prefix listed side by side: whoever has nothing left takes half of what another still has."""

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fakesweep.producer.sources.s3.prefix import Prefix, cursor_of, key_of
from fakesweep.producer.sources.s3.split_points import split_point
from fakesweep.schema.ledger.scans.scans import Entry
from fakesweep.schema.ledger.scans.source_parts import Part

CUT_AFTER_PAGES = 8
"""A stretch is cut once it went on for so long; after an attempt in vain, for twice as long."""

_LOOK_AGAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Listed:
    """Some entries of a part, in order, and where it goes on behind them."""

    part: Part
    entries: Sequence[Entry]
    cursor: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A part gives what lies behind its new end to another part."""

    part: Part
    new: Part


@dataclass(frozen=True, slots=True)
class Ended:
    """A part is listed to its end."""

    part: Part


ListingStep = Listed | Cut | Ended


@dataclass(slots=True)
class _KeyRange:
    """A part while it is listed; keys up to `last` are its own, `position` is where it stands."""

    part: Part
    position: str
    last: str | None
    pages: int = 0
    cut_after: int = CUT_AFTER_PAGES


def listed_side_by_side(
    prefix: Prefix, parts: Sequence[Part], next_number: int, threads: int
) -> Iterator[ListingStep]:
    """List what is left of a prefix on several threads.

    A part's steps come in their order, and the cut that makes a part comes before it.

    Raises:
        SourceError: the prefix cannot be listed any further.
    """
    listing = _Listing(prefix, parts, next_number, threads)
    try:
        yield from listing.steps()
    finally:
        listing.close()


class _Listing:
    def __init__(
        self, prefix: Prefix, parts: Sequence[Part], next_number: int, threads: int
    ) -> None:
        self._prefix = prefix
        self._next_number = next_number
        self._changed = threading.Condition()
        self._is_over = threading.Event()
        self._waiting = deque(_key_range(part) for part in parts)
        self._running: list[_KeyRange] = []
        self._steps: queue.Queue[ListingStep | BaseException | None] = queue.Queue(2 * threads)
        self._threads = [
            threading.Thread(target=self._work, name=f"listing-{number}", daemon=True)
            for number in range(threads)
        ]

    def steps(self) -> Iterator[ListingStep]:
        for thread in self._threads:
            thread.start()
        left = len(self._threads)
        while left:
            step = self._steps.get()
            if isinstance(step, BaseException):
                raise step
            if step is None:
                left -= 1
            else:
                yield step

    def close(self) -> None:
        """Stop listing; what was listed and not taken is listed again another time."""
        self._is_over.set()
        for thread in self._threads:
            while thread.is_alive():
                self._emptied()
                thread.join(_LOOK_AGAIN_SECONDS)

    def _emptied(self) -> None:
        while not self._steps.empty():
            self._steps.get_nowait()

    def _work(self) -> None:
        try:
            while (stretch := self._taken()) is not None:
                self._list(stretch)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever takes the steps
            self._steps.put(error)
        else:
            self._steps.put(None)

    def _list(self, stretch: _KeyRange) -> None:
        # Only what was asked for before a cut can lie behind it, so that is dropped here.
        for page in self._prefix.pages(stretch.part.cursor, lambda: stretch.last):
            with self._changed:
                last = stretch.last
                entries, key = page.entries, page.last_key
                if last is not None and key > last:
                    entries = [one for one in entries if key_of(one.cursor) <= last]
                    key = last
                stretch.position, stretch.pages = key, stretch.pages + 1
                self._changed.notify_all()
            if entries:
                self._steps.put(Listed(stretch.part, entries, cursor_of(key)))
            if self._is_over.is_set():
                return
        self._steps.put(Ended(stretch.part))
        with self._changed:
            self._running.remove(stretch)
            self._changed.notify_all()

    def _taken(self) -> _KeyRange | None:
        """Return a stretch to list: one that waits, or half of another; None where none is left."""
        while not self._is_over.is_set():
            with self._changed:
                if self._waiting:
                    self._running.append(self._waiting.popleft())
                    return self._running[-1]
                if not self._running:
                    return None
                longest = max(self._running, key=lambda one: one.pages - one.cut_after)
                if longest.pages < longest.cut_after:
                    self._changed.wait(_LOOK_AGAIN_SECONDS)
                    continue
                longest.cut_after = 2 * longest.pages  # nobody else tries meanwhile
                start, last = longest.position, longest.last
            if (taken := self._cut(longest, start, last)) is not None:
                return taken
        return None

    def _cut(self, stretch: _KeyRange, start: str, last: str | None) -> _KeyRange | None:
        at = split_point(start, last, self._prefix.start, self._prefix.has_key_after)
        if at is None:
            return None
        with self._changed:
            if stretch not in self._running or stretch.position >= at or stretch.last != last:
                return None
            new = replace(
                stretch.part,
                number=self._next_number,
                cursor=cursor_of(at),
                until=None if last is None else cursor_of(last),
            )
            self._next_number += 1
            stretch.last, stretch.cut_after = at, stretch.pages + CUT_AFTER_PAGES
            self._running.append(_key_range(new))
            self._steps.put(Cut(stretch.part, new))
            return self._running[-1]


def _key_range(part: Part) -> _KeyRange:
    return _KeyRange(
        part,
        key_of(part.cursor) if part.cursor else "",
        key_of(part.until) if part.until else None,
    )
