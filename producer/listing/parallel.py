"""Parallel listing of a prefix, with work stealing between key ranges."""

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fakesweep.producer.sources.s3.prefix import Prefix, cursor_of, key_of
from fakesweep.producer.sources.s3.split_points import split_point
from fakesweep.schema.ledger.scans.scans import Entry
from fakesweep.schema.ledger.scans.source_parts import Part

SPLIT_AFTER_PAGES = 8
"""Pages of a key range before it is split; a failed attempt doubles the number."""

_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Listed:
    """Entries of a part in key order, and the cursor behind them."""

    part: Part
    entries: Sequence[Entry]
    cursor: str


@dataclass(frozen=True, slots=True)
class Split:
    """Split of a part: `new` takes the keys behind the new end of `part`."""

    part: Part
    new: Part


@dataclass(frozen=True, slots=True)
class Ended:
    """End of a part's listing."""

    part: Part


ListingStep = Listed | Split | Ended


@dataclass(slots=True)
class _KeyRange:
    """Key range of a part: up to and including `last`, listed up to `position`."""

    part: Part
    position: str
    last: str | None
    pages: int = 0
    split_after: int = SPLIT_AFTER_PAGES


def listed_in_parallel(
    prefix: Prefix, parts: Sequence[Part], next_number: int, threads: int
) -> Iterator[ListingStep]:
    """List the remaining parts of a prefix on several threads.

    Work stealing: an idle lister takes half of the longest remaining key range. The steps of a part
    are in order; the split that creates a part precedes them.

    Raises:
        SourceError: the listing fails.
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
        self._waiting = deque(_to_key_range(part) for part in parts)
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
        """Stop the threads and drop unrecorded steps; the next listing repeats these."""
        self._is_over.set()
        for thread in self._threads:
            while thread.is_alive():
                self._drain()
                thread.join(_POLL_SECONDS)

    def _drain(self) -> None:
        while not self._steps.empty():
            self._steps.get_nowait()

    def _work(self) -> None:
        try:
            while (key_range := self._next_range()) is not None:
                self._list(key_range)
        except BaseException as error:  # noqa: BLE001 - raised again in `steps`
            self._steps.put(error)
        else:
            self._steps.put(None)

    def _list(self, key_range: _KeyRange) -> None:
        # Only a page requested before a split can reach past it, so its surplus is dropped here.
        for page in self._prefix.pages(key_range.part.cursor, lambda: key_range.last):
            with self._changed:
                last = key_range.last
                entries, key = page.entries, page.last_key
                if last is not None and key > last:
                    entries = [one for one in entries if key_of(one.cursor) <= last]
                    key = last
                key_range.position, key_range.pages = key, key_range.pages + 1
                self._changed.notify_all()
            if entries:
                self._steps.put(Listed(key_range.part, entries, cursor_of(key)))
            if self._is_over.is_set():
                return
        self._steps.put(Ended(key_range.part))
        with self._changed:
            self._running.remove(key_range)
            self._changed.notify_all()

    def _next_range(self) -> _KeyRange | None:
        """Return a waiting key range, or half of the longest one; None when all are listed."""
        while not self._is_over.is_set():
            with self._changed:
                if self._waiting:
                    self._running.append(self._waiting.popleft())
                    return self._running[-1]
                if not self._running:
                    return None
                longest = max(self._running, key=lambda one: one.pages - one.split_after)
                if longest.pages < longest.split_after:
                    self._changed.wait(_POLL_SECONDS)
                    continue
                longest.split_after = 2 * longest.pages  # no other thread tries meanwhile
                start, last = longest.position, longest.last
            if (stolen := self._split(longest, start, last)) is not None:
                return stolen
        return None

    def _split(self, key_range: _KeyRange, start: str, last: str | None) -> _KeyRange | None:
        at = split_point(start, last, self._prefix.start, self._prefix.has_key_after)
        if at is None:
            return None
        with self._changed:
            if key_range not in self._running or key_range.position >= at or key_range.last != last:
                return None
            new = replace(
                key_range.part,
                number=self._next_number,
                cursor=cursor_of(at),
                until=None if last is None else cursor_of(last),
            )
            self._next_number += 1
            key_range.last, key_range.split_after = at, key_range.pages + SPLIT_AFTER_PAGES
            self._running.append(_to_key_range(new))
            self._steps.put(Split(key_range.part, new))
            return self._running[-1]


def _to_key_range(part: Part) -> _KeyRange:
    return _KeyRange(
        part,
        key_of(part.cursor) if part.cursor else "",
        key_of(part.until) if part.until else None,
    )
