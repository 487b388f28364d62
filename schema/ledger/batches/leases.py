"""Leases: statements that claim a batch, renew its lease and release it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.ledger.batches.contents import Content
from fakesweep.schema.ledger.batches.states import TAKABLE, idle_state
from fakesweep.schema.words import Lane

_CLAIM = text(f"""
    UPDATE ledger.batches b
    SET state = 'running', attempt = b.attempt + 1, worker_id = :worker_id,
        lease_until = now() + make_interval(secs => :lease_seconds)
    FROM ledger.scans s JOIN ledger.policies p USING (policy_id)
    WHERE b.batch_id = :batch_id AND s.scan_id = b.scan_id
      AND NOT ledger.is_held(s.paused_at, s.cancelled_at)
      AND b.lane = coalesce(CAST(:lane AS ledger.lane), b.lane)
      AND b.attempt = coalesce(:attempt, b.attempt)
      AND b.state IN {TAKABLE}
    RETURNING b.batch_id, b.scan_id, b.attempt, s.model_keys, s.is_audit, now() AS claimed_at,
              CASE WHEN b.created_at > s.listed_at THEN b.created_at ELSE s.created_at END
                  AS asked_at,
              p.policy_id, p.name, p.real_below, p.fake_above
""")  # noqa: S608 - our own words

# A lease that expired during an outage is renewed, unless another worker claimed the batch.
_RENEW = text(f"""
    UPDATE ledger.batches b
    SET state = 'running', lease_until = now() + make_interval(secs => :lease_seconds)
    FROM unnest(CAST(:batch_ids AS bigint[]), CAST(:attempts AS integer[])) AS held (id, attempt)
    WHERE b.batch_id = held.id AND b.attempt = held.attempt AND b.worker_id = :worker_id
      AND (b.state = 'running' OR b.state IN {TAKABLE})
""")  # noqa: S608 - our own words

_SEEN = text("UPDATE ledger.workers SET seen_at = now() WHERE worker_id = :worker_id")

_RELEASE = text(f"""
    UPDATE ledger.batches b
    SET state = {idle_state("recorded")}, lease_until = NULL, worker_id = NULL
    WHERE worker_id = :worker_id AND state = 'running'
      AND batch_id = coalesce(:batch_id, batch_id) AND attempt = coalesce(:attempt, attempt)
""")  # noqa: S608 - our own words


_PUT_BACK = text(f"""
    UPDATE ledger.batches b SET state = {idle_state("recorded")}
    WHERE batch_id = :batch_id AND state = 'published' AND attempt = coalesce(:attempt, attempt)
""")  # noqa: S608 - our own words

_KNOWN_CONTENTS = text("""
    SELECT i.image_id, c.sha256, c.size_bytes
    FROM ledger.images i JOIN ledger.contents c ON c.content_id = i.known_content_id
    WHERE i.batch_id = :batch_id
""")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a batch; `attempt` fences off its former holders.

    `asked_at` is when its work was asked for: with the scan, or later by a retry or an upload.
    """

    batch_id: int
    scan_id: int
    attempt: int
    model_keys: tuple[str, ...]
    policy_id: int
    policy: Policy
    is_audit: bool = False
    asked_at: datetime | None = field(default=None, compare=False)
    claimed_at: datetime | None = field(default=None, compare=False)


def claim_batch(
    connection: Connection,
    batch_id: int,
    worker_id: UUID,
    lease_seconds: float,
    *,
    lane: Lane | None = None,
    attempt: int | None = None,
) -> Claim | None:
    """Claim a batch, or return None where it is done, held or claimed by another worker.

    `lane` and `attempt` come from its message; where they no longer hold, there is no claim.
    """
    row = connection.execute(
        _CLAIM,
        {
            "batch_id": batch_id,
            "worker_id": worker_id,
            "lease_seconds": lease_seconds,
            "lane": lane and lane.value,
            "attempt": attempt,
        },
    ).one_or_none()
    if row is None:
        return None
    return Claim(
        batch_id=row.batch_id,
        scan_id=row.scan_id,
        attempt=row.attempt,
        model_keys=tuple(row.model_keys),
        policy_id=row.policy_id,
        policy=Policy(row.name, row.real_below, row.fake_above),
        is_audit=row.is_audit,
        asked_at=row.asked_at,
        claimed_at=row.claimed_at,
    )


def known_contents(connection: Connection, claim: Claim) -> dict[int, Content]:
    """Return the contents that an audit knows for a batch's images without fetching, by image."""
    rows = connection.execute(_KNOWN_CONTENTS, {"batch_id": claim.batch_id})
    return {row.image_id: Content(bytes(row.sha256), row.size_bytes) for row in rows}


def renew_leases(
    connection: Connection, attempts: Mapping[int, int], worker_id: UUID, lease_seconds: float
) -> int:
    """Renew the leases of a worker, by the database's clock, and record its heartbeat.

    `attempts` maps batches to the attempts that hold them. Returns how many leases it renewed.
    """
    kept = connection.execute(
        _RENEW,
        {
            "batch_ids": list(attempts),
            "attempts": list(attempts.values()),
            "worker_id": worker_id,
            "lease_seconds": lease_seconds,
        },
    ).rowcount
    connection.execute(_SEEN, {"worker_id": worker_id})
    return kept


def release_batch(connection: Connection, claim: Claim, worker_id: UUID) -> None:
    """Release a batch unfinished, for publishing at once."""
    connection.execute(
        _RELEASE,
        {"batch_id": claim.batch_id, "attempt": claim.attempt, "worker_id": worker_id},
    )


def put_back(connection: Connection, batch_id: int, attempt: int | None) -> None:
    """Release a batch for publishing whose message reached a worker that did not claim it."""
    connection.execute(_PUT_BACK, {"batch_id": batch_id, "attempt": attempt})


def release_all(connection: Connection, worker_id: UUID) -> int:
    """Release every batch of a worker; return their number."""
    everything = {"batch_id": None, "attempt": None, "worker_id": worker_id}
    return connection.execute(_RELEASE, everything).rowcount
