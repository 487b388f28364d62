"""From a source to the queue: list, record the rows, commit, publish."""

import itertools
import socket
import threading
from collections.abc import Iterable, Iterator

import structlog

from producer.scans import Producer
from producer.sources import list_images
from schema.errors import ScanError
from schema.ledger import (
    ListedImage,
    SourceLeft,
    end_listing,
    end_source,
    lock_listing,
    record_batch,
    return_expired,
    return_lost,
    sources_left,
    take_recorded,
    unlock_listing,
)
from schema.words import Lane

LOST_AFTER_SECONDS = 30.0
"""A published batch that no worker claimed for so long, while its queue is empty, is lost."""

log = structlog.get_logger(__name__)


def list_scan(producer: Producer, scan_id: int, stop: threading.Event) -> bool:
    """List what is left of a scan's sources and record it, batch by batch.

    Returns False, with nothing done, while another process lists this scan. Stops between two
    batches when `stop` is set; the cursor in the ledger says where to go on.

    Raises:
        SourceError: a source cannot be listed any further.
        ScanError: a source can be listed on another machine only.
    """
    with producer.engine.connect() as lock:
        if not lock_listing(lock, scan_id):
            return False
        lock.commit()
        try:
            return _list_sources(producer, scan_id, stop)
        finally:
            unlock_listing(lock, scan_id)
            lock.commit()


def publish_recorded(producer: Producer, only: int | None = None) -> int:
    """Send recorded batches of all scans or one, live lane first, while the window has room.

    Rows are marked and committed before the message leaves: a message too few is found again,
    one too many is refused by the claim.

    Raises:
        BrokerError: the broker does not take them.
    """
    published = 0
    for lane in Lane:
        with producer.engine.begin() as connection:
            messages = take_recorded(connection, lane, producer.settings.window_batches, only)
        for message in messages:
            producer.publisher.publish(message)
        published += len(messages)
    return published


def reconcile(producer: Producer) -> int:
    """Hand batches that nobody works on any more back to be published again.

    Raises:
        BrokerError: the broker does not say what lies in its queues.
    """
    with producer.engine.begin() as connection:
        returned = return_expired(connection)
    for lane in Lane:
        if producer.publisher.waiting(lane) == 0:
            with producer.engine.begin() as connection:
                returned += return_lost(connection, lane, LOST_AFTER_SECONDS)
    if returned:
        log.warning("batches_returned", batches=returned)
    return returned


def _list_sources(producer: Producer, scan_id: int, stop: threading.Event) -> bool:
    with producer.engine.connect() as connection:
        sources = sources_left(connection, scan_id)
    for source in sources:
        _refuse_foreign(source)
        if not _list_source(producer, scan_id, source, stop):
            return True
    with producer.engine.begin() as connection:
        end_listing(connection, scan_id)
    log.info("scan_listed", scan_id=scan_id)
    return True


def _list_source(
    producer: Producer, scan_id: int, source: SourceLeft, stop: threading.Event
) -> bool:
    images = list_images(source.source, source.cursor, producer.settings)
    for batch in _batched(images, producer.settings.batch_images):
        if stop.is_set():
            return False
        with producer.engine.begin() as connection:
            added = record_batch(connection, scan_id, source.position, batch)
        log.debug("batch_recorded", scan_id=scan_id, listed=len(batch), added=added)
        producer.recorded.set()
    with producer.engine.begin() as connection:
        end_source(connection, scan_id, source.position)
    return True


def _refuse_foreign(source: SourceLeft) -> None:
    if source.hostname is not None and source.hostname != socket.gethostname():
        raise ScanError(
            f"{source.source} can only be listed on the machine {source.hostname!r}; "
            f"run `fakesweep resume` there"
        )


def _batched(images: Iterable[ListedImage], size: int) -> Iterator[list[ListedImage]]:
    iterator = iter(images)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
