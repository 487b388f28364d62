"""Publishing: takes recorded batches up to a bounded window for each lane."""

from sqlalchemy import Connection, text

from fakesweep.schema.message import BatchImage, BatchMessage
from fakesweep.schema.words import Lane

_LOCK_LANE = text("SELECT pg_advisory_xact_lock(hashtext('fakesweep lane'), hashtext(:lane))")


_TAKE_RECORDED = text("""
    SELECT batch_id, scan_id, attempt
    FROM ledger.take_recorded(CAST(:lane AS ledger.lane), :window, CAST(:scan_id AS bigint))
""")


_IMAGES_OF = text("""
    SELECT batch_id, image_id, uri FROM ledger.pending
    WHERE batch_id = ANY(:batch_ids) ORDER BY batch_id, image_id
""")


def take_recorded(
    connection: Connection, lane: Lane, window: int, scan_id: int | None = None
) -> list[BatchMessage]:
    """Mark recorded batches as published while the window has room, and return them.

    With `scan_id`, only that scan's batches are taken; the window counts those of all scans. A lock
    for each lane makes the window hold for all processes together. The caller commits, then
    publishes: `recovery.requeue_lost` finds a lost message, the claim refuses a duplicate.
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
