"""Statements that bring back what nobody works on any more, and corner what takes workers down."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, text

from schema.failures import FailureCode
from schema.words import Lane

QUARANTINED_AFTER = 2
"""A batch whose lease ran out so often goes on in quarantine, alone in its worker."""

STRIKES = 2
"""An image that was alone in a worker when that ended, so often, is taken to have ended it."""

IDLE_STATE = """
    CAST(CASE WHEN EXISTS (
        SELECT FROM ledger.scans s
        WHERE s.scan_id = b.scan_id AND (s.paused_at IS NOT NULL OR s.cancelled_at IS NOT NULL)
    ) THEN 'held' ELSE 'recorded' END AS ledger.batch_state)
"""
"""The state of a batch `b` that is handed back."""

_RETURN_EXPIRED = text(f"""
    UPDATE ledger.batches b
    SET state = {IDLE_STATE}, lease_until = NULL, expiries = expiries + 1,
        strikes = strikes + CAST(lane = 'quarantine' AS integer),
        lane = CASE WHEN expiries + 1 >= :quarantined_after THEN 'quarantine' ELSE lane END
    WHERE batch_id IN (
        SELECT batch_id FROM ledger.batches
        WHERE state = 'running' AND lease_until < now() FOR UPDATE SKIP LOCKED
    ) RETURNING batch_id, lane, strikes
""")  # noqa: S608 - our own words

_RETURN_LOST = text(f"""
    UPDATE ledger.batches b SET state = {IDLE_STATE}
    WHERE batch_id IN (
        SELECT batch_id FROM ledger.batches
        WHERE lane = CAST(:lane AS ledger.lane) AND state = 'published'
          AND published_at < now() - make_interval(secs => :older_than_seconds)
          AND batch_id <> ALL(CAST(:waiting AS bigint[]))
        FOR UPDATE SKIP LOCKED
    ) RETURNING batch_id
""")  # noqa: S608 - our own words

_LONG_PUBLISHED = text("""
    SELECT EXISTS (
        SELECT FROM ledger.batches
        WHERE lane = CAST(:lane AS ledger.lane) AND state = 'published'
          AND published_at < now() - make_interval(secs => :older_than_seconds)
    )
""")

_PENDING = text("""
    SELECT image_id FROM ledger.images i
    WHERE batch_id = :batch_id
      AND NOT EXISTS (SELECT FROM ledger.outcomes o WHERE o.image_id = i.image_id)
    ORDER BY image_id
""")

_ADD_HALF = text("""
    INSERT INTO ledger.batches (scan_id, lane, state, image_count, expiries, split_from)
    SELECT scan_id, lane, state, :moved, expiries, batch_id FROM ledger.batches
    WHERE batch_id = :batch_id RETURNING batch_id
""")

_MOVE_IMAGES = text("UPDATE ledger.images SET batch_id = :half WHERE image_id = ANY(:image_ids)")

# The attempt goes up, so that nobody who held all of it can still store.
_KEEP_HALF = text("""
    UPDATE ledger.batches
    SET image_count = image_count - :moved, attempt = attempt + 1, strikes = 0
    WHERE batch_id = :batch_id
""")

_ADD_KILLER = text("""
    INSERT INTO ledger.outcomes (image_id, scan_id, failure_code, failure_message)
    SELECT image_id, scan_id, CAST(:code AS ledger.failure_code), :message
    FROM ledger.images WHERE image_id = :image_id
""")

_END_KILLER = text("""
    UPDATE ledger.batches SET state = 'done', finished_at = now(), attempt = attempt + 1,
        failed_count = failed_count + 1
    WHERE batch_id = :batch_id
""")


@dataclass(frozen=True, slots=True)
class Returned:
    """What became of the batches whose leases ran out; `killers` are the images given up."""

    batches: int
    in_quarantine: int
    halved: int
    killers: tuple[int, ...]


def return_expired(connection: Connection) -> Returned:
    """Hand batches whose worker has not renewed its lease back to be published again.

    One that ran out again goes into quarantine. One that ran out there, alone in its worker, is cut
    in halves, and where it is down to one image, that is recorded as failed.
    """
    returned = connection.execute(_RETURN_EXPIRED, {"quarantined_after": QUARANTINED_AFTER}).all()
    halved, killers = 0, []
    for row in returned:
        if row.strikes:
            pending = list(connection.execute(_PENDING, {"batch_id": row.batch_id}).scalars())
            if len(pending) > 1:
                _halve(connection, row.batch_id, pending)
                halved += 1
            elif row.strikes >= STRIKES:
                killers.extend(pending)
                _give_up(connection, row.batch_id, pending)
    quarantined = sum(row.lane == Lane.QUARANTINE for row in returned)
    return Returned(len(returned), quarantined, halved, tuple(killers))


def return_lost(
    connection: Connection, lane: Lane, waiting: Collection[int], older_than_seconds: float
) -> int:
    """Hand batches back that were published long ago and do not wait in their queue.

    `waiting` are the batches that do. One that a worker holds without having claimed it yet comes
    back too: whoever claims it first has it.
    """
    return connection.execute(
        _RETURN_LOST,
        {
            "lane": lane.value,
            "waiting": list(waiting),
            "older_than_seconds": older_than_seconds,
        },
    ).rowcount


def any_long_published(connection: Connection, lane: Lane, older_than_seconds: float) -> bool:
    """Tell whether a batch of the lane has been published for so long and not been taken up."""
    wanted = {"lane": lane.value, "older_than_seconds": older_than_seconds}
    return bool(connection.execute(_LONG_PUBLISHED, wanted).scalar_one())


def _halve(connection: Connection, batch_id: int, pending: list[int]) -> None:
    moved = pending[len(pending) // 2 :]
    counts = {"batch_id": batch_id, "moved": len(moved)}
    half = connection.execute(_ADD_HALF, counts).scalar_one()
    connection.execute(_MOVE_IMAGES, {"half": half, "image_ids": moved})
    connection.execute(_KEEP_HALF, counts)


def _give_up(connection: Connection, batch_id: int, image_ids: list[int]) -> None:
    message = f"{STRIKES} workers in turn ended without a word while it was all they worked on"
    for image_id in image_ids:
        connection.execute(
            _ADD_KILLER,
            {"image_id": image_id, "code": FailureCode.KILLED_WORKER.value, "message": message},
        )
    connection.execute(_END_KILLER, {"batch_id": batch_id})
