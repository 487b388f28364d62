"""From a source to the queue: list, record the rows, commit, publish."""

import json
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
    sources_left,
    take_recorded,
    unlock_listing,
)
from schema.recovery import any_long_published, return_expired, return_lost
from schema.words import Lane

LOST_AFTER_SECONDS = 15.0
"""A published batch that is not in its queue, and not claimed for so long, is lost."""

MAX_BATCH_URI_BYTES = 128 * 1024
"""A batch of long URIs, as JSON writes them, has fewer images: so a window fits into Redis."""

log = structlog.get_logger(__name__)


def list_scan(producer: Producer, scan_id: int, stop: threading.Event) -> bool:
    """List what is left of a scan's sources and record it, batch by batch.

    Returns False, with nothing done, while another process lists this scan. Stops between two
    batches when `stop` is set, or the scan paused or cancelled; the cursor in the ledger says where
    to go on.

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


def reconcile(producer: Producer) -> None:
    """Hand batches that nobody works on any more back to be published again.

    Raises:
        BrokerError: the broker does not say what lies in its queues.
    """
    with producer.engine.begin() as connection:
        returned = return_expired(connection)
    if returned.batches:
        log.warning(
            "leases_expired", batches=returned.batches, in_quarantine=returned.in_quarantine,
            halved=returned.halved,
        )  # fmt: skip
    for image_id in returned.killers:
        log.error("image_killed_its_workers", image_id=image_id)
    for lane in Lane:
        with producer.engine.begin() as connection:
            if not any_long_published(connection, lane, LOST_AFTER_SECONDS):
                continue
        waiting = producer.publisher.waiting_batches(lane)
        with producer.engine.begin() as connection:
            lost = return_lost(connection, lane, waiting, LOST_AFTER_SECONDS)
        if lost:
            log.warning("messages_lost", batches=lost, lane=lane.value)


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
        if added is None:
            log.info("listing_halted", scan_id=scan_id)
            return False
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
    batch: list[ListedImage] = []
    uri_bytes = 0
    for image in images:
        batch.append(image)
        uri_bytes += len(json.dumps(image.uri))
        if len(batch) == size or uri_bytes >= MAX_BATCH_URI_BYTES:
            yield batch
            batch, uri_bytes = [], 0
    if batch:
        yield batch
