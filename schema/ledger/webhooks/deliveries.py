"""Deliveries: statements that lease due ones, record their outcome and delete old ones."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from fakesweep.schema.reasons import reason

# The end of its lease is also when a delivery is due again, so a dead sender counts as a
# failed one. The array keeps the plan on the tables' keys: a parameterised LIMIT makes the planner
# overestimate rows.
_TAKE = text("""
    WITH due AS (
        SELECT d.delivery_id
        FROM ledger.webhooks w
        LEFT JOIN unnest(CAST(:webhook_ids AS integer[]), CAST(:free AS integer[]))
            AS known (webhook_id, free) USING (webhook_id)
        CROSS JOIN LATERAL (
            SELECT d.delivery_id FROM ledger.webhook_deliveries d
            WHERE d.webhook_id = w.webhook_id AND ledger.is_open(d) AND d.next_attempt_at <= now()
            ORDER BY d.next_attempt_at LIMIT coalesce(known.free, :at_once)
            FOR UPDATE SKIP LOCKED
        ) AS d
        WHERE w.paused_at IS NULL AND w.removed_at IS NULL
    ), taken AS (
        UPDATE ledger.webhook_deliveries d
        SET lease = :lease, next_attempt_at = now() + make_interval(secs => :lease_seconds)
        WHERE d.delivery_id = ANY (ARRAY(SELECT delivery_id FROM due))
        RETURNING d.*
    )
    SELECT t.delivery_id, t.message_id, t.webhook_id, w.name AS webhook, w.url, w.secret,
           t.attempts, t.image_id, i.uri, t.scan_id, m.key AS model, m.revision AS model_revision,
           t.verdict::text AS verdict, t.before::text AS before, t.kind::text AS kind, t.p_fake,
           p.name AS policy, encode(c.sha256, 'hex') AS sha256, t.created_at AS judged_at,
           t.event, t.said
    FROM taken t
    JOIN ledger.webhooks w USING (webhook_id)
    LEFT JOIN ledger.images i ON i.image_id = t.image_id
    LEFT JOIN ledger.contents c ON c.content_id = t.content_id
    LEFT JOIN ledger.models m ON m.model_id = t.model_id
    LEFT JOIN ledger.policies p ON p.policy_id = t.policy_id
    ORDER BY t.delivery_id
""")

_TELL_EVENTS = text("SELECT ledger.tell_events(:at_most)")

# A delivery counts, also where its lease expired meanwhile.
_DELIVERED = text("""
    UPDATE ledger.webhook_deliveries d
    SET delivered_at = now(), dead_at = NULL, attempts = d.attempts + 1, lease = NULL,
        last_status = said.status, last_error = NULL
    FROM unnest(CAST(:delivery_ids AS bigint[]), CAST(:statuses AS integer[]))
        AS said (delivery_id, status)
    WHERE d.delivery_id = said.delivery_id AND d.delivered_at IS NULL
""")

_FAILED = text("""
    UPDATE ledger.webhook_deliveries d
    SET attempts = d.attempts + 1, lease = NULL, last_status = said.status, last_error = said.error,
        next_attempt_at = now() + make_interval(secs => coalesce(said.pause_seconds, 0)),
        dead_at = CASE WHEN said.pause_seconds IS NULL THEN now() END
    FROM unnest(CAST(:delivery_ids AS bigint[]), CAST(:leases AS uuid[]),
                CAST(:statuses AS integer[]), CAST(:errors AS text[]),
                CAST(:pauses AS double precision[]))
        AS said (delivery_id, lease, status, error, pause_seconds)
    WHERE d.delivery_id = said.delivery_id AND d.lease = said.lease AND d.delivered_at IS NULL
""")

_GONE = text("""
    UPDATE ledger.webhooks SET paused_at = now(), paused_because = 'its receiver answered 410 Gone'
    WHERE webhook_id = ANY(CAST(:webhook_ids AS integer[])) AND paused_at IS NULL
""")

_DELETE = """
    DELETE FROM ledger.webhook_deliveries WHERE delivery_id IN (
        SELECT d.delivery_id FROM ledger.webhooks w CROSS JOIN LATERAL (
            SELECT d.delivery_id FROM ledger.webhook_deliveries d
            WHERE d.webhook_id = w.webhook_id AND {which} LIMIT :at_most FOR UPDATE SKIP LOCKED
        ) AS d {where} LIMIT :at_most
    )
"""
_OLD = "d.delivered_at < now() - make_interval(secs => 86400 * CAST(:days AS double precision))"
_DELETE_DELIVERED = text(_DELETE.format(which=_OLD, where=""))
_DELETE_REMOVED = tuple(
    text(_DELETE.format(which=which, where="WHERE w.removed_at IS NOT NULL"))
    for which in ("ledger.is_open(d)", "d.dead_at IS NOT NULL")
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verdict or an event on its way to a webhook, as it was when recorded.

    An event has its type in `event` and its body in `said`, and no verdict. `attempts` counts the
    ended ones; `before` is the verdict that a rejudgement replaced. `uri`, `sha256`, model or
    policy are None once deleted. `sha256` is hexadecimal.
    """

    delivery_id: int
    message_id: UUID
    lease: UUID
    webhook_id: int
    webhook: str
    url: str = field(repr=False)
    secret: str = field(repr=False)
    attempts: int
    image_id: int | None
    uri: str | None
    scan_id: int | None
    model: str | None
    model_revision: str | None
    verdict: str | None
    before: str | None
    kind: str | None
    p_fake: float | None
    policy: str | None
    sha256: str | None
    judged_at: datetime
    event: str | None = None
    said: Mapping[str, Any] | None = None

    @property
    def is_forgotten(self) -> bool:
        """Whether the ledger no longer holds the facts of the delivery."""
        return self.event is None and None in (self.uri, self.sha256, self.model, self.policy)


@dataclass(frozen=True, slots=True)
class Failed:
    """A failed attempt; without `pause_seconds` it was the last."""

    delivery: Delivery
    status: int | None
    error: str
    pause_seconds: float | None


def take_due(
    connection: Connection,
    lease: UUID,
    lease_seconds: float,
    at_once: int,
    free: Mapping[int, int],
) -> list[Delivery]:
    """Lease deliveries that are due, by the database's clock.

    Args:
        connection: A connection to the ledger.
        lease: The name of this lease.
        lease_seconds: The duration of the lease.
        at_once: The most deliveries for each webhook.
        free: The most deliveries instead for webhooks that have some in work.
    """
    rows = connection.execute(
        _TAKE,
        {
            "lease": lease,
            "lease_seconds": lease_seconds,
            "at_once": at_once,
            "webhook_ids": list(free),
            "free": list(free.values()),
        },
    )
    return [Delivery(lease=lease, **row) for row in rows.mappings()]


def tell_events(connection: Connection, at_most: int = 100) -> int:
    """Create deliveries for new events; return the number of events.

    Events are ended scans and schedule runs without a scan.
    """
    return int(connection.execute(_TELL_EVENTS, {"at_most": at_most}).scalar_one())


def record_delivered(connection: Connection, delivered: Iterable[tuple[int, int]]) -> None:
    """Record deliveries that receivers accepted, each with its HTTP status."""
    ended = sorted(delivered)
    if ended:
        ids, statuses = zip(*ended, strict=True)
        connection.execute(_DELIVERED, {"delivery_ids": list(ids), "statuses": list(statuses)})


def record_failed(connection: Connection, failed: Iterable[Failed]) -> None:
    """Record failed attempts; those whose lease has passed to another sender stay as they are."""
    ended = sorted(failed, key=lambda one: one.delivery.delivery_id)
    if ended:
        connection.execute(
            _FAILED,
            {
                "delivery_ids": [one.delivery.delivery_id for one in ended],
                "leases": [str(one.delivery.lease) for one in ended],
                "statuses": [one.status for one in ended],
                "errors": [one.error and reason(one.error) for one in ended],
                "pauses": [one.pause_seconds for one in ended],
            },
        )


def pause_gone(connection: Connection, webhook_ids: Collection[int]) -> None:
    """Pause webhooks whose receivers answered 410 Gone."""
    if webhook_ids:
        connection.execute(_GONE, {"webhook_ids": sorted(webhook_ids)})


def delete_delivered(connection: Connection, days: float, at_most: int = 10_000) -> int:
    """Delete rows delivered longer than `days` ago, and open ones of removed webhooks.

    Returns how many of either it deleted; call it again until there are none.
    """
    dropped = connection.execute(_DELETE_DELIVERED, {"days": days, "at_most": at_most}).rowcount
    for statement in _DELETE_REMOVED:
        dropped += connection.execute(statement, {"at_most": at_most}).rowcount
    return dropped
