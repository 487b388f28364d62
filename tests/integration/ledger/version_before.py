"""The former version (migration 0002), as text: its statements, its message and its reader.

They are frozen: never change them with the product.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from fakesweep.schema.ledger.batches.outcomes import Outcome, _image_row, _verdict_rows
from fakesweep.schema.ledger.copy import copy_rows

CLAIM = text("""
    UPDATE ledger.batches b
    SET state = 'running', attempt = b.attempt + 1, worker_id = :worker_id,
        lease_until = now() + make_interval(secs => :lease_seconds)
    FROM ledger.scans s JOIN ledger.policies p USING (policy_id)
    WHERE b.batch_id = :batch_id AND s.scan_id = b.scan_id
      AND (b.state IN ('recorded', 'published')
           OR b.state = 'running' AND b.lease_until < now())
    RETURNING b.batch_id, b.scan_id, b.attempt, s.model_keys,
              p.policy_id, p.name, p.real_below, p.fake_above
""")

RENEW = text("""
    UPDATE ledger.batches SET lease_until = now() + make_interval(secs => :lease_seconds)
    WHERE batch_id = ANY(:batch_ids) AND worker_id = :worker_id AND state = 'running'
""")

RELEASE = text("""
    UPDATE ledger.batches SET state = 'recorded', lease_until = NULL, worker_id = NULL
    WHERE batch_id = :batch_id AND attempt = :attempt AND worker_id = :worker_id
      AND state = 'running'
""")

FENCE = text("""
    UPDATE ledger.batches
    SET state = 'done', finished_at = now(), lease_until = NULL,
        classified_count = classified_count + :classified,
        reused_count = reused_count + :reused, failed_count = failed_count + :failed
    WHERE batch_id = :batch_id AND attempt = :attempt AND worker_id = :worker_id
      AND state = 'running'
    RETURNING batch_id
""")

CREATE_STAGES = """
    CREATE TEMPORARY TABLE IF NOT EXISTS stage_images (
        image_id bigint, status ledger.image_status, sha256 bytea, size_bytes bigint,
        width integer, height integer, format text, frame_count integer,
        failure_code ledger.failure_code, failure_message text
    ) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE IF NOT EXISTS stage_verdicts (
        image_id bigint, sha256 bytea, model_id integer, scores real[],
        p_fake double precision, kind ledger.kind, verdict ledger.verdict
    ) ON COMMIT DELETE ROWS;
"""

ADD_CONTENTS = text("""
    INSERT INTO ledger.contents (sha256, size_bytes, width, height, format, frame_count)
    SELECT DISTINCT ON (sha256) sha256, size_bytes, width, height, format, frame_count
    FROM stage_images WHERE sha256 IS NOT NULL ORDER BY sha256, width
    ON CONFLICT (sha256) DO NOTHING
""")

ADD_PREDICTIONS = text("""
    INSERT INTO ledger.predictions (content_id, model_id, scores, p_fake, kind)
    SELECT DISTINCT ON (c.content_id, v.model_id)
           c.content_id, v.model_id, v.scores, v.p_fake, v.kind
    FROM stage_verdicts v JOIN ledger.contents c USING (sha256)
    WHERE v.scores IS NOT NULL ORDER BY c.content_id, v.model_id
    ON CONFLICT (content_id, model_id) DO NOTHING
""")

ADD_VERDICTS = text("""
    INSERT INTO ledger.verdicts
        (image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict, kind)
    SELECT v.image_id, v.model_id, :scan_id, c.content_id, :policy_id, p.p_fake, said.verdict,
           CASE WHEN said.verdict <> 'real' THEN p.kind END
    FROM stage_verdicts v
    JOIN ledger.contents c USING (sha256)
    LEFT JOIN ledger.predictions p USING (content_id, model_id)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN p.p_fake = v.p_fake THEN v.verdict
                    ELSE judge(p.p_fake, :real_below, :fake_above) END AS verdict
    ) AS said
    ORDER BY v.image_id, v.model_id
""")

ADD_OUTCOMES = text("""
    INSERT INTO ledger.outcomes
        (image_id, scan_id, status, content_id, failure_code, failure_message)
    SELECT s.image_id, :scan_id, s.status, c.content_id, s.failure_code, s.failure_message
    FROM stage_images s LEFT JOIN ledger.contents c USING (sha256)
    ORDER BY s.image_id
""")

LOCK_LANE = text("SELECT pg_advisory_xact_lock(hashtext('fakesweep lane'), hashtext(:lane))")

TAKE_RECORDED = text("""
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
    RETURNING b.batch_id, b.scan_id
""")

IMAGES_OF = text("""
    SELECT i.batch_id, i.image_id, i.uri FROM ledger.images i
    WHERE i.batch_id = ANY(:batch_ids)
      AND NOT EXISTS (SELECT FROM ledger.outcomes o WHERE o.image_id = i.image_id)
    ORDER BY i.batch_id, i.image_id
""")

RETURN_EXPIRED = text("""
    UPDATE ledger.batches SET state = 'recorded', lease_until = NULL
    WHERE batch_id IN (
        SELECT batch_id FROM ledger.batches
        WHERE state = 'running' AND lease_until < now() FOR UPDATE SKIP LOCKED
    ) RETURNING batch_id
""")

RETURN_LOST = text("""
    UPDATE ledger.batches SET state = 'recorded'
    WHERE batch_id IN (
        SELECT batch_id FROM ledger.batches
        WHERE lane = CAST(:lane AS ledger.lane) AND state = 'published'
          AND published_at < now() - make_interval(secs => :older_than_seconds)
        FOR UPDATE SKIP LOCKED
    ) RETURNING batch_id
""")


class Lane(StrEnum):
    """The lanes, and so the queues, of the former version."""

    LIVE = "live"
    BULK = "bulk"


class UnreadableMessage(Exception):  # noqa: N818 - says what the message is
    """The exception of its reader."""


@dataclass(frozen=True)
class Message:
    """The message of its reader."""

    batch_id: int
    scan_id: int
    lane: Lane
    images: tuple[tuple[int, str], ...]


def read_message(body: object) -> Message:
    """Parse a message as the former version did."""
    if not isinstance(body, Mapping):
        raise UnreadableMessage("the message is no JSON object")
    if body.get("version") != 1:
        raise UnreadableMessage(f"the message is of version {body.get('version')!r}")
    try:
        return Message(
            batch_id=_row(body["batch_id"]),
            scan_id=_row(body["scan_id"]),
            lane=Lane(body["lane"]),
            images=tuple((_row(number), _uri(uri)) for number, uri in body["images"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableMessage(f"the message cannot be read: {error!r}") from error


def take(connection: Connection, lane: Lane = Lane.BULK) -> list[dict[str, Any]]:
    """Publish recorded batches as its producer did; return the messages."""
    connection.execute(LOCK_LANE, {"lane": lane.value})
    wanted = {"lane": lane.value, "window": 64, "scan_id": None}
    taken = connection.execute(TAKE_RECORDED, wanted).all()
    messages: dict[int, dict[str, Any]] = {
        row.batch_id: {
            "version": 1,
            "batch_id": row.batch_id,
            "scan_id": row.scan_id,
            "lane": lane.value,
            "images": [],
        }
        for row in taken
    }
    for row in connection.execute(IMAGES_OF, {"batch_ids": list(messages)}):
        messages[row.batch_id]["images"].append([row.image_id, row.uri])
    return [messages[batch_id] for batch_id in sorted(messages)]


def claim(connection: Connection, batch_id: int, worker_id: UUID) -> Any:
    """Claim a batch as its worker did; return the row, or None."""
    told = {"batch_id": batch_id, "worker_id": worker_id, "lease_seconds": 60.0}
    return connection.execute(CLAIM, told).one_or_none()


def renew(connection: Connection, batch_id: int, worker_id: UUID) -> int:
    """Renew a lease as its worker did; return the number renewed."""
    told = {"batch_ids": [batch_id], "worker_id": worker_id, "lease_seconds": 60.0}
    return connection.execute(RENEW, told).rowcount


def release(connection: Connection, held: Any, worker_id: UUID) -> None:
    """Release a batch as its worker did."""
    told = {"batch_id": held.batch_id, "attempt": held.attempt, "worker_id": worker_id}
    connection.execute(RELEASE, told)


def store(connection: Connection, held: Any, worker_id: UUID, outcomes: Sequence[Outcome]) -> bool:
    """Store the outcomes of a batch as its worker did."""
    fence = {
        "batch_id": held.batch_id,
        "attempt": held.attempt,
        "worker_id": worker_id,
        "classified": sum(one.status.value == "classified" for one in outcomes),
        "reused": sum(one.status.value == "reused" for one in outcomes),
        "failed": sum(one.status.value == "failed" for one in outcomes),
    }
    if connection.execute(FENCE, fence).one_or_none() is None:
        return False
    connection.exec_driver_sql(CREATE_STAGES)
    copy_rows(connection, "stage_images", map(_row_of_image, outcomes))
    copy_rows(connection, "stage_verdicts", _verdict_rows(outcomes))
    connection.execute(ADD_CONTENTS)
    connection.execute(ADD_PREDICTIONS)
    judged_by = {
        "scan_id": held.scan_id,
        "policy_id": held.policy_id,
        "real_below": held.real_below,
        "fake_above": held.fake_above,
    }
    connection.execute(ADD_VERDICTS, judged_by)
    connection.execute(ADD_OUTCOMES, {"scan_id": held.scan_id})
    return True


def _row_of_image(outcome: Outcome) -> tuple[Any, ...]:
    """Return a row without `read_as`, a later column."""
    *until_frames, _, code, message = _image_row(outcome)
    return (*until_frames, code, message)


def _row(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise ValueError(f"{value!r} is no row of the ledger")
    return value


def _uri(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no URI")
    return value
