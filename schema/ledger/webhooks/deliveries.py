"""Statements of delivering to webhooks: take what is due, note what came of it, forget the old."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from fakesweep.schema.reasons import reason

# The moment until which nobody else takes a delivery is also when it is due again: a sender that
# died is not told from one that failed. The array keeps the plan on the tables' keys: how many rows
# a limit leaves that is known only later, PostgreSQL guesses far too high.
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

# Whoever delivered it has delivered it, also where the lease ran out meanwhile.
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

_FORGET = """
    DELETE FROM ledger.webhook_deliveries WHERE delivery_id IN (
        SELECT d.delivery_id FROM ledger.webhooks w CROSS JOIN LATERAL (
            SELECT d.delivery_id FROM ledger.webhook_deliveries d
            WHERE d.webhook_id = w.webhook_id AND {which} LIMIT :at_most FOR UPDATE SKIP LOCKED
        ) AS d {where} LIMIT :at_most
    )
"""
_OLD = "d.delivered_at < now() - make_interval(secs => 86400 * CAST(:days AS double precision))"
_FORGET_DELIVERED = text(_FORGET.format(which=_OLD, where=""))
_FORGET_REMOVED = tuple(
    text(_FORGET.format(which=which, where="WHERE w.removed_at IS NOT NULL"))
    for which in ("ledger.is_open(d)", "d.dead_at IS NOT NULL")
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verdict or an event on its way to a webhook, as it was then.

    An event has its type in `event` and what it tells in `said`, and nothing of a verdict.

    `attempts` are those that ended before; `before` is the word that a judgement anew replaced.
    `uri`, `sha256`, model or policy are None once they are forgotten. `sha256` is hexadecimal.
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
        """Whether the ledger no longer holds what there is to tell."""
        return self.event is None and None in (self.uri, self.sha256, self.model, self.policy)


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that did not deliver; without `pause_seconds` it was the last."""

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
    """Take deliveries that are due, by the database's clock; nobody else takes them for so long.

    Args:
        connection: Where the ledger is.
        lease: Names this taking.
        lease_seconds: How long it lasts.
        at_once: Deliveries to take for each webhook at most.
        free: How many to take instead for webhooks that have some in hand.
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
    """Have the ledger write deliveries of events that were not told yet; return how many it told.

    They are scans that ended and times of schedules that made none.
    """
    return int(connection.execute(_TELL_EVENTS, {"at_most": at_most}).scalar_one())


def record_delivered(connection: Connection, delivered: Iterable[tuple[int, int]]) -> None:
    """Note deliveries that receivers took, each with the status they answered."""
    ended = sorted(delivered)
    if ended:
        ids, statuses = zip(*ended, strict=True)
        connection.execute(_DELIVERED, {"delivery_ids": list(ids), "statuses": list(statuses)})


def record_failed(connection: Connection, failed: Iterable[Failed]) -> None:
    """Note attempts that failed; those whose lease somebody else took over stay as they are."""
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
    """Pause webhooks whose receivers say that they want nothing more."""
    if webhook_ids:
        connection.execute(_GONE, {"webhook_ids": sorted(webhook_ids)})


def forget_delivered(connection: Connection, days: float, at_most: int = 10_000) -> int:
    """Drop rows delivered longer than `days` ago, and what removed webhooks were not told.

    Returns how many of either were dropped; call it again until there are none.
    """
    dropped = connection.execute(_FORGET_DELIVERED, {"days": days, "at_most": at_most}).rowcount
    for statement in _FORGET_REMOVED:
        dropped += connection.execute(statement, {"at_most": at_most}).rowcount
    return dropped
