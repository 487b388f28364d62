"""Statements of the asking side: scans, their sources, their images, and the batches to publish."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from schema.database import storable
from schema.failures import FailureCode
from schema.message import BatchImage, BatchMessage
from schema.words import BatchState, Lane

_ADD_SCAN = text("""
    INSERT INTO ledger.scans (name, lane, policy_id, model_keys)
    VALUES (:name, CAST(:lane AS ledger.lane), :policy_id, :model_keys) RETURNING scan_id
""")

_ADD_SOURCE = text("""
    INSERT INTO ledger.scan_sources (scan_id, position, source, hostname)
    VALUES (:scan_id, :position, :source, :hostname)
""")

_SOURCES_LEFT = text("""
    SELECT position, source, hostname, cursor FROM ledger.scan_sources
    WHERE scan_id = :scan_id AND listed_at IS NULL ORDER BY position
""")

_SCANS_TO_LIST = text("""
    SELECT scan_id FROM ledger.scans s
    WHERE listed_at IS NULL AND paused_at IS NULL AND cancelled_at IS NULL AND NOT EXISTS (
        SELECT FROM ledger.scan_sources x
        WHERE x.scan_id = s.scan_id AND x.listed_at IS NULL
          AND (x.hostname <> :hostname OR x.source = '-')
    ) ORDER BY scan_id
""")

_LOCK_LISTING = text("SELECT pg_try_advisory_lock(hashtext('fakesweep listing'), :scan_id)")
_UNLOCK_LISTING = text("SELECT pg_advisory_unlock(hashtext('fakesweep listing'), :scan_id)")

_ADD_BATCH = text("""
    INSERT INTO ledger.batches (scan_id, lane, image_count)
    SELECT scan_id, lane, 0 FROM ledger.scans
    WHERE scan_id = :scan_id AND paused_at IS NULL AND cancelled_at IS NULL FOR SHARE
    RETURNING batch_id
""")

_ADD_IMAGES = text("""
    INSERT INTO ledger.images (scan_id, batch_id, uri, size_bytes, etag, modified_at)
    SELECT :scan_id, :batch_id, new.*
    FROM unnest(CAST(:uris AS text[]), CAST(:sizes AS bigint[]), CAST(:etags AS text[]),
                CAST(:times AS timestamptz[])) AS new (uri, size_bytes, etag, modified_at)
    ON CONFLICT (uri, scan_id) DO NOTHING
    RETURNING image_id, uri
""")

_ADD_UNREADABLE = text("""
    INSERT INTO ledger.outcomes (image_id, scan_id, status, failure_code, failure_message)
    VALUES (:image_id, :scan_id, 'failed', CAST(:code AS ledger.failure_code), :message)
""")

_CLOSE_BATCH = text("""
    UPDATE ledger.batches SET image_count = :image_count, failed_count = :failed_count,
        state = CAST(:state AS ledger.batch_state),
        finished_at = CASE WHEN :state = 'done' THEN now() END
    WHERE batch_id = :batch_id
""")

_DROP_BATCH = text("DELETE FROM ledger.batches WHERE batch_id = :batch_id")

_MOVE_CURSOR = text("""
    UPDATE ledger.scan_sources SET cursor = :cursor
    WHERE scan_id = :scan_id AND position = :position
""")

_END_SOURCE = text("""
    UPDATE ledger.scan_sources SET listed_at = now()
    WHERE scan_id = :scan_id AND position = :position
""")

_END_LISTING = text("""
    UPDATE ledger.scans SET listed_at = now() WHERE scan_id = :scan_id AND listed_at IS NULL
""")

_LOCK_LANE = text("SELECT pg_advisory_xact_lock(hashtext('fakesweep lane'), hashtext(:lane))")

_TAKE_RECORDED = text("""
    WITH open AS (
        SELECT count(*) AS published FROM ledger.batches
        WHERE lane = CAST(:lane AS ledger.lane) AND state IN ('published', 'running')
    ), taken AS (
        SELECT batch_id FROM ledger.batches
        WHERE lane = CAST(:lane AS ledger.lane) AND state = 'recorded'
          AND scan_id = coalesce(:scan_id, scan_id)
        ORDER BY batch_id
        LIMIT (SELECT greatest(0, :window - published) FROM open)
        FOR UPDATE SKIP LOCKED
    )
    UPDATE ledger.batches b SET state = 'published', published_at = now()
    FROM taken WHERE b.batch_id = taken.batch_id
    RETURNING b.batch_id, b.scan_id, b.attempt
""")

_IMAGES_OF = text("""
    SELECT i.batch_id, i.image_id, i.uri FROM ledger.images i
    WHERE i.batch_id = ANY(:batch_ids)
      AND NOT EXISTS (SELECT FROM ledger.outcomes o WHERE o.image_id = i.image_id)
    ORDER BY i.batch_id, i.image_id
""")


@dataclass(frozen=True, slots=True)
class SourceLeft:
    """A source whose listing is not finished; `cursor` is where it stands, None at its start."""

    position: int
    source: str
    hostname: str | None
    cursor: str | None


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image as its source lists it; unknown facts are None.

    `cursor` is where listing goes on after this image. With `unreadable`, `uri` only names
    the place (a manifest's line) and the image is recorded as failed, with that reason.
    """

    uri: str
    cursor: str
    size_bytes: int | None = None
    etag: str | None = None
    modified_at: datetime | None = None
    unreadable: str | None = None


def add_scan(
    connection: Connection,
    *,
    name: str | None,
    lane: Lane,
    policy_id: int,
    model_keys: Sequence[str],
    sources: Sequence[tuple[str, str | None]],
) -> int:
    """Record a scan and its sources (each with the only host that can list it, or None)."""
    scan_id = int(
        connection.execute(
            _ADD_SCAN,
            {
                "name": None if name is None else storable(name),
                "lane": lane.value,
                "policy_id": policy_id,
                "model_keys": list(model_keys),
            },
        ).scalar_one()
    )
    connection.execute(
        _ADD_SOURCE,
        [
            {"scan_id": scan_id, "position": position, "source": source, "hostname": hostname}
            for position, (source, hostname) in enumerate(sources)
        ],
    )
    return scan_id


def sources_left(connection: Connection, scan_id: int) -> list[SourceLeft]:
    """Return the sources whose listing is not finished, in order."""
    rows = connection.execute(_SOURCES_LEFT, {"scan_id": scan_id})
    return [SourceLeft(row.position, row.source, row.hostname, row.cursor) for row in rows]


def scans_to_list(connection: Connection, hostname: str) -> list[int]:
    """Return the scans whose listing this host could go on with, oldest first.

    Standard input is not among them: only the person who pipes it in can say what comes next.
    """
    return list(connection.execute(_SCANS_TO_LIST, {"hostname": hostname}).scalars())


def lock_listing(connection: Connection, scan_id: int) -> bool:
    """Try to become the only process that lists this scan, until unlocked or disconnected."""
    return bool(connection.execute(_LOCK_LISTING, {"scan_id": scan_id}).scalar_one())


def unlock_listing(connection: Connection, scan_id: int) -> None:
    """Let another process list this scan."""
    connection.execute(_UNLOCK_LISTING, {"scan_id": scan_id})


def record_batch(
    connection: Connection, scan_id: int, position: int, images: Sequence[ListedImage]
) -> int | None:
    """Record listed images as one batch and move the source's cursor behind them.

    Images the scan has already are passed over; a batch of none of its own is not kept.
    Returns the number of images added, or None, with nothing written, where the scan is paused or
    cancelled; who pauses or cancels it waits until this transaction ends.
    """
    batch_id = connection.execute(_ADD_BATCH, {"scan_id": scan_id}).scalar_one_or_none()
    if batch_id is None:
        return None
    added = connection.execute(
        _ADD_IMAGES,
        {
            "scan_id": scan_id,
            "batch_id": batch_id,
            "uris": [image.uri for image in images],
            "sizes": [image.size_bytes for image in images],
            "etags": [image.etag for image in images],
            "times": [image.modified_at for image in images],
        },
    ).all()
    reasons = {image.uri: image.unreadable for image in images if image.unreadable is not None}
    unreadable = [
        {
            "image_id": row.image_id,
            "scan_id": scan_id,
            "code": FailureCode.INVALID_URI.value,
            "message": storable(reasons[row.uri]),
        }
        for row in added
        if row.uri in reasons
    ]
    if unreadable:
        connection.execute(_ADD_UNREADABLE, unreadable)
    if added:
        state = BatchState.DONE if len(unreadable) == len(added) else BatchState.RECORDED
        connection.execute(
            _CLOSE_BATCH,
            {
                "batch_id": batch_id,
                "image_count": len(added),
                "failed_count": len(unreadable),
                "state": state.value,
            },
        )
    else:
        connection.execute(_DROP_BATCH, {"batch_id": batch_id})
    cursor = images[-1].cursor
    connection.execute(_MOVE_CURSOR, {"scan_id": scan_id, "position": position, "cursor": cursor})
    return len(added)


def end_source(connection: Connection, scan_id: int, position: int) -> None:
    """Record that a source is listed to its end."""
    connection.execute(_END_SOURCE, {"scan_id": scan_id, "position": position})


def end_listing(connection: Connection, scan_id: int) -> None:
    """Record that every source of a scan is listed to its end."""
    connection.execute(_END_LISTING, {"scan_id": scan_id})


def take_recorded(
    connection: Connection, lane: Lane, window: int, scan_id: int | None = None
) -> list[BatchMessage]:
    """Mark recorded batches as published, as many as the window has room for, and return them.

    With `scan_id` only that scan's batches are taken; the window counts those of all scans.
    One process at a time does this for a lane, so the window holds for all of them together.
    The caller commits, then publishes: a message that never arrives is found by
    `recovery.return_lost`, one published twice by the claim.
    """
    connection.execute(_LOCK_LANE, {"lane": lane.value})
    wanted = {"lane": lane.value, "window": window, "scan_id": scan_id}
    taken = connection.execute(_TAKE_RECORDED, wanted).all()
    if not taken:
        return []
    images: dict[int, list[BatchImage]] = {row.batch_id: [] for row in taken}
    for row in connection.execute(_IMAGES_OF, {"batch_ids": list(images)}):
        images[row.batch_id].append(BatchImage(row.image_id, row.uri))
    return [
        BatchMessage(row.batch_id, row.scan_id, lane, tuple(images[row.batch_id]), row.attempt)
        for row in sorted(taken, key=lambda row: int(row.batch_id))
    ]
