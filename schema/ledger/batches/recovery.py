"""Statements that requeue expired leases and isolate batches that kill workers.

Each batch is requeued in a savepoint of its own: one that the database refuses is set aside.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Connection, Row, TextClause, text

from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.batches.deferrals import set_aside
from fakesweep.schema.ledger.batches.states import idle_state
from fakesweep.schema.ledger.savepoints import apart
from fakesweep.schema.settings import LONGEST_LEASE_SECONDS
from fakesweep.schema.words import Lane

QUARANTINED_AFTER = 2
"""Expired leases after which a batch goes into quarantine, alone in its worker."""

STRIKES = 2
"""Expired leases in quarantine after which a lone image fails as `killed_worker`."""

UNSEEN_SECONDS = 300.0
"""Age in seconds of the last heartbeat at which a worker loses all leases."""

# A lease is no longer than the settings allow, and ends with its worker.
_END_LEASES = text("""
    UPDATE ledger.batches SET lease_until = '-infinity' WHERE batch_id IN (
        SELECT b.batch_id FROM ledger.batches b
        WHERE b.state = 'running' AND (
            b.lease_until IS NULL
            OR b.lease_until > now() + make_interval(secs => :longest_seconds)
            OR b.lease_until >= now() AND EXISTS (
                SELECT FROM workers w WHERE w.worker_id = b.worker_id
                  AND w.seen_at < now() - make_interval(secs => :unseen_seconds)
            )
        ) FOR UPDATE OF b SKIP LOCKED
    )
""")

_EXPIRED = """
    SELECT batch_id FROM ledger.batches x WHERE ledger.is_expired(x) FOR UPDATE SKIP LOCKED
"""

_REQUEUE = f"""
    UPDATE ledger.batches b
    SET state = {idle_state("recorded")}, lease_until = NULL, expiries = expiries + 1,
        strikes = strikes + CAST(lane = 'quarantine' AS integer),
        lane = CASE WHEN expiries + 1 >= :quarantined_after THEN 'quarantine' ELSE lane END
    WHERE batch_id {{which}} RETURNING batch_id, lane, strikes
"""  # noqa: S608 - our own words

_REQUEUE_EXPIRED = text(_REQUEUE.format(which=f"IN ({_EXPIRED})"))
_REQUEUE_ONE = text(_REQUEUE.format(which="= :batch_id"))

_REQUEUE_LOST = text(f"""
    UPDATE ledger.batches b SET state = {idle_state("recorded")}
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
    SELECT image_id FROM ledger.pending WHERE batch_id = :batch_id ORDER BY image_id
""")

_RECOUNT = text("SELECT ledger.recount_batch(:batch_id)")

_ADD_HALF = text("""
    INSERT INTO ledger.batches (scan_id, lane, state, image_count, expiries, split_from)
    SELECT scan_id, lane, state, :moved, expiries, batch_id FROM ledger.batches
    WHERE batch_id = :batch_id RETURNING batch_id
""")

_MOVE_IMAGES = text("UPDATE ledger.images SET batch_id = :half WHERE image_id = ANY(:image_ids)")

# The new attempt fences off holders of the whole batch.
_KEEP_HALF = text("""
    UPDATE ledger.batches SET attempt = attempt + 1, strikes = 0 WHERE batch_id = :batch_id
""")

_ADD_KILLER = text("""
    INSERT INTO ledger.outcomes (image_id, scan_id, failure_code, failure_message)
    SELECT image_id, scan_id, CAST(:code AS ledger.failure_code), :message
    FROM ledger.images WHERE image_id = :image_id
""")


@dataclass(frozen=True, slots=True)
class Fault:
    """A batch that could not be requeued, and the reason."""

    batch_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Requeued:
    """Batches requeued after their lease expired; `killers` are the images that failed.

    `faults` are the batches that were set aside.
    """

    batches: int
    in_quarantine: int
    halved: int
    killers: tuple[int, ...]
    faults: tuple[Fault, ...] = ()


@dataclass(slots=True)
class _Isolated:
    halved: int = 0
    killers: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def requeue_expired(connection: Connection) -> Requeued:
    """Requeue batches whose lease has expired.

    A second expiry moves the batch to quarantine. A batch that expires there is halved; a single
    image fails. A batch that the database refuses is rolled back alone and set aside.
    """
    limits = {"longest_seconds": LONGEST_LEASE_SECONDS, "unseen_seconds": UNSEEN_SECONDS}
    connection.execute(_END_LEASES, limits)
    isolated = _Isolated()
    returned = _requeued(connection, isolated.faults)
    for row in returned:
        if row.strikes:
            reason = apart(connection, partial(_isolate, connection, row, isolated))
            if reason is not None:
                isolated.faults.append(Fault(row.batch_id, reason))
    for fault in isolated.faults:
        apart(connection, partial(set_aside, connection, fault.batch_id, fault.reason))
    quarantined = sum(row.lane == Lane.QUARANTINE for row in returned)
    return Requeued(
        len(returned), quarantined, isolated.halved, tuple(isolated.killers), tuple(isolated.faults)
    )


def requeue_lost(
    connection: Connection, lane: Lane, waiting: Collection[int], older_than_seconds: float
) -> int:
    """Requeue lost batches: published `older_than_seconds` ago or earlier, and not in their queue.

    `waiting` are the batches in the queue. A batch that a worker holds unclaimed is requeued too;
    the first claim wins.
    """
    return connection.execute(
        _REQUEUE_LOST,
        {
            "lane": lane.value,
            "waiting": list(waiting),
            "older_than_seconds": older_than_seconds,
        },
    ).rowcount


def any_long_published(connection: Connection, lane: Lane, older_than_seconds: float) -> bool:
    """Return whether a batch of the lane has been unclaimed for `older_than_seconds`."""
    wanted = {"lane": lane.value, "older_than_seconds": older_than_seconds}
    return bool(connection.execute(_LONG_PUBLISHED, wanted).scalar_one())


def recount(connection: Connection, batch_id: int) -> bool:
    """Recount a batch from its rows; return whether it is done."""
    return bool(connection.execute(_RECOUNT, {"batch_id": batch_id}).scalar_one())


def _requeued(connection: Connection, faults: list[Fault]) -> list[Row[tuple[int, str, int]]]:
    """Requeue batches together, or one by one where the database refuses one of them."""
    returned: list[Row[tuple[int, str, int]]] = []

    def give_back(statement: TextClause, **which: int) -> None:
        wanted = {"quarantined_after": QUARANTINED_AFTER, **which}
        returned.extend(connection.execute(statement, wanted).all())

    if apart(connection, partial(give_back, _REQUEUE_EXPIRED)) is None:
        return returned
    for batch_id in connection.execute(text(_EXPIRED)).scalars().all():
        reason = apart(connection, partial(give_back, _REQUEUE_ONE, batch_id=batch_id))
        if reason is not None:
            faults.append(Fault(batch_id, reason))
    return returned


def _isolate(connection: Connection, row: Row[tuple[int, str, int]], isolated: _Isolated) -> None:
    pending = list(connection.execute(_PENDING, {"batch_id": row.batch_id}).scalars())
    if len(pending) > 1:
        _halve(connection, row.batch_id, pending)
        isolated.halved += 1
    elif not pending or row.strikes >= STRIKES:
        _give_up(connection, row.batch_id, pending)
        isolated.killers.extend(pending)


def _halve(connection: Connection, batch_id: int, pending: list[int]) -> None:
    moved = pending[len(pending) // 2 :]
    counts = {"batch_id": batch_id, "moved": len(moved)}
    half = connection.execute(_ADD_HALF, counts).scalar_one()
    connection.execute(_MOVE_IMAGES, {"half": half, "image_ids": moved})
    connection.execute(_KEEP_HALF, counts)
    recount(connection, batch_id)


def _give_up(connection: Connection, batch_id: int, image_ids: list[int]) -> None:
    """Record the images as failed, and count the outcomes of their batch."""
    message = f"{STRIKES} workers in turn ended without a word while it was all they worked on"
    for image_id in image_ids:
        connection.execute(
            _ADD_KILLER,
            {"image_id": image_id, "code": FailureCode.KILLED_WORKER.value, "message": message},
        )
    recount(connection, batch_id)
