"""Listing of one scan: its remaining sources, recorded in the ledger page by page."""

import socket
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import structlog

from fakesweep.producer.listing.filter import ImageFilter
from fakesweep.producer.listing.parallel import (
    Ended,
    Listed,
    ListingStep,
    Split,
    listed_in_parallel,
)
from fakesweep.producer.listing.prefetch import prefetched
from fakesweep.producer.resources import Producer
from fakesweep.producer.sources import is_prefix, list_entries
from fakesweep.producer.sources.members import list_members
from fakesweep.producer.sources.names import NameRule
from fakesweep.producer.sources.s3.prefix import opened_prefix
from fakesweep.producer.watchdog import progressed, waits_for_ledger
from fakesweep.schema.errors import FakesweepError, ScanError
from fakesweep.schema.ledger.scans.audit_digests import digests_of, one_run, whole_runs
from fakesweep.schema.ledger.scans.listing import Page, end_listing, record_page, staged
from fakesweep.schema.ledger.scans.scans import (
    Entry,
    ListedImage,
    chosen,
    lock_listing,
    unlock_listing,
)
from fakesweep.schema.ledger.scans.source_parts import (
    Part,
    end_part,
    next_part,
    parts_left,
    split_part,
)
from fakesweep.schema.selection import Selection

PAGE_IMAGES = 4_096
"""Images that one transaction records at most, above the batch size."""

PREFETCHED_PAGES = 2
"""Pages that are prepared while the one before is recorded."""

PAGE_SECONDS = 1.0
"""Age at which entries are recorded once they fill a batch."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Listing:
    """Listing in progress: a scan, its filter and its stop signal.

    `mostly_known` is set while an audit recognises most of a page by its digest runs.
    """

    producer: Producer
    scan_id: int
    stop: threading.Event
    selection: Selection
    image_filter: ImageFilter
    is_audit: bool
    mostly_known: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class _Ready:
    """Page of a part, ready to be recorded."""

    part: Part
    page: Page


def list_scan(producer: Producer, scan_id: int, stop: threading.Event) -> bool:
    """List the remaining sources of a scan and record them page by page.

    Returns False while another process lists this scan. Stops between two pages when `stop` is set,
    or when the scan is paused or cancelled; the ledger's cursors are where it resumes.

    Raises:
        SourceError: listing a source fails.
        ScanError: another machine has to list a source.
    """
    with producer.engine.connect() as lock:
        if not lock_listing(lock, scan_id):
            return False
        lock.commit()
        try:
            _list_sources(producer, scan_id, stop)
        finally:
            unlock_listing(lock, scan_id)
            lock.commit()
    return True


def _list_sources(producer: Producer, scan_id: int, stop: threading.Event) -> None:
    with producer.engine.connect() as connection:
        selection, asked_at, is_audit = chosen(connection, scan_id)
        left = parts_left(connection, scan_id)
    image_filter = ImageFilter(selection, asked_at)
    listing = _Listing(producer, scan_id, stop, selection, image_filter, is_audit)
    for _, parts in groupby(left, key=lambda part: part.position):
        if not _list_source(listing, list(parts)):
            return
    waits_for_ledger()
    with producer.engine.begin() as connection:
        end_listing(connection, scan_id)
    progressed()
    log.info("scan_listed", scan_id=scan_id)


def _list_source(listing: _Listing, parts: Sequence[Part]) -> bool:
    """Record the steps of a source's listing; return False where the listing was halted."""
    _refuse_foreign(parts[0])
    prefetched_steps = PREFETCHED_PAGES if is_prefix(parts[0].source) else PAGE_IMAGES
    with (
        prefetched(_steps(listing, parts), prefetched_steps, PAGE_SECONDS) as steps,
        prefetched(_ready(listing, steps), PREFETCHED_PAGES, PAGE_SECONDS) as pages,
    ):
        for page in pages:
            if listing.stop.is_set() or not (page is None or _is_done(listing, page)):
                return False
    return not listing.stop.is_set()


def _ready(
    listing: _Listing, steps: Iterator[ListingStep | None]
) -> Generator[_Ready | Split | Ended | None]:
    """Yield steps as filtered pages, staged for PostgreSQL's COPY."""
    batch_images = listing.producer.settings.batch_images
    for step in paged(steps, batch_images, is_audit=listing.is_audit):
        if isinstance(step, Listed):
            images, counts = listing.image_filter.taken(step.entries)
            page = _page(listing, images, step.cursor)
            yield _Ready(step.part, page._replace(counts=counts))
        else:
            yield step


def _page(listing: _Listing, images: Sequence[ListedImage], cursor: str) -> Page:
    runs = digests_of(images) if listing.is_audit else one_run(images)
    return Page(
        images, cursor, runs, None if listing.mostly_known.is_set() else staged(images, runs)
    )


def _is_done(listing: _Listing, step: _Ready | Split | Ended) -> bool:
    """Record a step; return False if the scan is paused or cancelled."""
    match step:
        case _Ready(part, page):
            return _is_recorded(listing, part, page)
        case Split(part, new):
            with listing.producer.engine.begin() as connection:
                split_part(connection, listing.scan_id, part, new)
        case Ended(part):
            with listing.producer.engine.begin() as connection:
                end_part(connection, listing.scan_id, part)
    return True


def _is_recorded(listing: _Listing, part: Part, page: Page) -> bool:
    settings = listing.producer.settings
    with listing.producer.engine.begin() as connection:
        recorded = record_page(
            connection,
            listing.scan_id,
            part,
            page,
            settings.batch_images,
            failures_stand_days=settings.audit_failures_stand_days,
        )
    if recorded is None:
        log.info("listing_halted", scan_id=listing.scan_id)
        return False
    progressed()
    log.debug(
        "page_recorded", scan_id=listing.scan_id, listed=len(page.images), added=recorded.added,
        unchanged=recorded.unchanged, known=recorded.known,
    )  # fmt: skip
    if recorded.known * 2 > len(page.images):
        listing.mostly_known.set()
    else:
        listing.mostly_known.clear()
    if recorded.added:
        listing.producer.recorded.set()
    return True


def _steps(listing: _Listing, parts: Sequence[Part]) -> Generator[ListingStep]:
    first, settings = parts[0], listing.producer.settings
    if first.members:
        yield from _one_by_one(first, list_members(first.members, first.cursor))
        return
    if not is_prefix(first.source) or listing.selection.versions:
        entries = list_entries(first.source, first.cursor, settings, listing.selection)
        yield from _one_by_one(first, entries)
        return
    with listing.producer.engine.connect() as connection:
        number = next_part(connection, listing.scan_id, first.position)
    names = NameRule(listing.selection.suffixes)
    with opened_prefix(first.source, settings, names) as prefix:
        yield from listed_in_parallel(prefix, parts, number, settings.listing_concurrency)


def paged(
    steps: Iterable[ListingStep | None], batch_images: int, *, is_audit: bool = False
) -> Iterator[ListingStep | None]:
    """Collect listed entries into pages, separately for each part.

    A fast listing fills pages to their limit; a slow one yields whole batches after `PAGE_SECONDS`.
    None is a tick without a step. An audit's pages hold whole digest runs.
    """
    most = max(PAGE_IMAGES, batch_images)
    pending: dict[int, _FullBatches] = {}
    try:
        for step in steps:
            match step:
                case Listed(part):
                    one = pending.get(part.number)
                    if one is None:
                        one = pending[part.number] = _FullBatches(part)
                    yield from one.with_more(step, most, batch_images, is_audit=is_audit)
                case Ended(part):
                    if part.number in pending:
                        yield pending.pop(part.number).all()
                    yield step
                case Split():
                    yield step
                case None:
                    late = [one for one in pending.values() if one.is_due(batch_images)]
                    yield from (one.whole(batch_images, is_audit=is_audit) for one in late)
                    yield None
    except FakesweepError:
        # Entries listed before the error are recorded; the next listing resumes behind them.
        yield from (one.all() for one in pending.values())
        raise


@dataclass(slots=True)
class _FullBatches:
    """Entries of a part that are not in a page yet."""

    part: Part
    entries: list[Entry] = field(default_factory=list)
    cursor: str = ""
    since: float = field(default_factory=time.monotonic)

    def with_more(
        self, step: Listed, most: int, batch_images: int, *, is_audit: bool
    ) -> Iterator[Listed]:
        """Add a step's entries; yield a page when it is full or due."""
        self.entries += step.entries
        self.cursor = step.cursor
        if len(self.entries) >= most or self.is_due(batch_images):
            yield self.whole(batch_images, is_audit=is_audit)

    def is_due(self, batch_images: int) -> bool:
        """Return whether a whole batch is older than `PAGE_SECONDS`."""
        is_late = time.monotonic() - self.since >= PAGE_SECONDS
        return is_late and len(self.entries) >= batch_images

    def whole(self, batch_images: int, *, is_audit: bool) -> Listed:
        """Remove and return the entries of whole batches, or of an audit's whole digest runs."""
        count = whole_runs(self.entries) if is_audit else 0
        count = count or len(self.entries) // batch_images * batch_images
        taken, self.entries = self.entries[:count], self.entries[count:]
        self.since = time.monotonic()
        return Listed(self.part, taken, taken[-1].cursor if self.entries else self.cursor)

    def all(self) -> Listed:
        """Return all entries."""
        return Listed(self.part, self.entries, self.cursor)


def _one_by_one(part: Part, entries: Iterator[Entry]) -> Iterator[ListingStep]:
    for entry in entries:
        yield Listed(part, [entry], entry.cursor)
    yield Ended(part)


def _refuse_foreign(part: Part) -> None:
    if part.hostname is not None and part.hostname != socket.gethostname():
        raise ScanError(
            f"{part.source} can only be listed on the machine {part.hostname!r}; "
            f"run `fakesweep resume` there"
        )
