"""Delivery of a batch message: compares it with the ledger, whose rows decide the work."""

import json
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from fakesweep.schema.ledger.batches.leases import Claim, claim_batch
from fakesweep.schema.ledger.batches.recovery import recount
from fakesweep.schema.ledger.batches.states import idle_state
from fakesweep.schema.ledger.dead_letters import MAX_BODY_CHARACTERS, DeadLetter, record_unreadable
from fakesweep.schema.message import BatchImage, BatchMessage
from fakesweep.schema.telemetry.logs import cleared

# The outcome is looked up by image, not once for each batch.
_ALL = text("SELECT image_id, uri FROM ledger.batch_images(:batch_id, :attempt)")

_PENDING = text("SELECT image_id, uri FROM ledger.pending_images(:batch_id, :attempt)")

_COUNTED = text("""
    SELECT image_count AS images, ledger.pending_of(b) AS left
    FROM ledger.batches b WHERE batch_id = :batch_id
""")

_PUBLISH_ANEW = text(f"""
    UPDATE ledger.batches b SET state = {idle_state("recorded")}
    WHERE batch_id = :batch_id AND state = 'published'
""")  # noqa: S608 - our own words


@dataclass(frozen=True, slots=True)
class Taken:
    """A claimed batch, and its images without an outcome, in order."""

    claim: Claim
    images: tuple[BatchImage, ...]
    was_miscounted: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that contradicts the ledger, with the reason for its refusal."""

    reason: str


def take_up(
    connection: Connection, message: BatchMessage, worker_id: UUID, lease_seconds: float
) -> Taken | Refused | None:
    """Claim a message's batch, or return None where it is done, held or claimed by another worker.

    A message that contradicts the ledger leaves the batch as it is, and the batch is published
    anew. A batch whose counts differ from its rows is recounted first, which may end it.
    """
    with connection.begin_nested() as attempt:
        claim = claim_batch(
            connection,
            message.batch_id,
            worker_id,
            lease_seconds,
            lane=message.lane,
            attempt=message.attempt,
        )
        if claim is None:
            return None
        taken = _compared(connection, message, claim)
        if not isinstance(taken, Refused):
            return taken
        attempt.rollback()
    connection.execute(_PUBLISH_ANEW, {"batch_id": message.batch_id})
    record_unreadable(connection, _put_aside(message, taken.reason))
    return taken


def _compared(
    connection: Connection, message: BatchMessage, claim: Claim
) -> Taken | Refused | None:
    """Compare a message with the batch's pending images; return None where none is pending.

    Order and duplicates in the message do not matter.
    """
    is_of_scan, said = message.scan_id == claim.scan_id, set(message.images)
    counted = connection.execute(_COUNTED, {"batch_id": claim.batch_id}).one()
    images = _images(connection, _ALL, claim)
    if is_of_scan and counted.left == counted.images == len(images) and said == set(images):
        return Taken(claim, images)
    images = _images(connection, _PENDING, claim)
    if not is_of_scan or said != set(images):
        return Refused(_disagreement(message, claim, images))
    is_miscounted = counted.left != len(images)
    if is_miscounted and recount(connection, claim.batch_id):
        return None
    return Taken(claim, images, is_miscounted)


def _images(connection: Connection, which: TextClause, claim: Claim) -> tuple[BatchImage, ...]:
    rows = connection.execute(which, {"batch_id": claim.batch_id, "attempt": claim.attempt})
    return tuple(BatchImage(row.image_id, row.uri) for row in rows)


def _disagreement(message: BatchMessage, claim: Claim, images: tuple[BatchImage, ...]) -> str:
    """Return how a message contradicts the ledger, None where it does not."""
    if message.scan_id != claim.scan_id:
        return f"batch {claim.batch_id} is of scan {claim.scan_id}, not of {message.scan_id}"
    said, held = set(message.images), set(images)
    return (
        f"it names {len(said - held)} images that batch {claim.batch_id} does not wait for under "
        f"these addresses, and leaves out {len(held - said)} that it does"
    )


def _put_aside(message: BatchMessage, reason: str) -> DeadLetter:
    body = cleared(json.dumps(message.to_json(), ensure_ascii=False)[:MAX_BODY_CHARACTERS])
    return DeadLetter(message.lane.value, reason, body[:MAX_BODY_CHARACTERS])
