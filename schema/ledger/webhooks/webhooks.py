"""Webhooks: statements that add, pause, resume and remove them, and retry dead deliveries."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from fakesweep.schema.errors import WebhookError
from fakesweep.schema.words import Event, Lane, VerdictWord

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")

_ADD = text("""
    INSERT INTO ledger.webhooks (name, url, secret, verdicts, events, models, lanes)
    VALUES (:name, :url, :secret, CAST(:verdicts AS ledger.verdict[]), CAST(:events AS text[]),
            CAST(:models AS text[]), CAST(:lanes AS ledger.lane[]))
    ON CONFLICT (name) WHERE removed_at IS NULL DO NOTHING
    RETURNING webhook_id
""")

_FIND = text("""
    SELECT webhook_id, name, url, secret, paused_at IS NOT NULL AS is_paused
    FROM ledger.webhooks WHERE name = :name AND removed_at IS NULL FOR NO KEY UPDATE
""")

_LIST = text("""
    SELECT name, url, verdicts::text[] AS verdicts, events, models, lanes::text[] AS lanes,
           created_at, paused_at, paused_because, waiting, waiting_since, dead, last_delivered_at
    FROM webhooks WHERE removed_at IS NULL ORDER BY name
""")

_IS_THERE = text("SELECT FROM webhooks WHERE name = :name AND removed_at IS NULL")

_PAUSE = text("""
    UPDATE ledger.webhooks SET paused_at = now(), paused_because = :because
    WHERE webhook_id = :webhook_id AND paused_at IS NULL
""")

_RESUME = text("""
    UPDATE ledger.webhooks SET paused_at = NULL, paused_because = NULL
    WHERE webhook_id = :webhook_id
""")

_MAKE_DUE = text("""
    UPDATE ledger.webhook_deliveries d SET next_attempt_at = now()
    WHERE webhook_id = :webhook_id AND ledger.is_open(d)
      AND next_attempt_at > now() AND lease IS NULL
""")

_REMOVE = text("""
    UPDATE ledger.webhooks SET removed_at = now(), secret = '' WHERE webhook_id = :webhook_id
""")

_DEAD = text("""
    SELECT delivery_id, webhook, type, verdict, model, scan_id, image_id, uri, attempts,
           last_status, last_error, created_at, dead_at
    FROM webhook_deliveries
    WHERE delivery_id = ANY (ARRAY(
        SELECT delivery_id FROM webhook_deliveries
        WHERE dead_at IS NOT NULL AND state = 'dead' AND webhook = coalesce(:name, webhook)
        ORDER BY delivery_id DESC LIMIT :at_most
    ))
    ORDER BY delivery_id DESC
""")

_DEAD_COUNT = text("""
    SELECT count(*) FROM webhook_deliveries
    WHERE dead_at IS NOT NULL AND state = 'dead' AND webhook = coalesce(:name, webhook)
""")

_REVIVE = """
    UPDATE ledger.webhook_deliveries d
    SET dead_at = NULL, attempts = 0, next_attempt_at = now(), lease = NULL
    FROM ledger.webhooks w
    WHERE w.webhook_id = d.webhook_id AND w.removed_at IS NULL AND d.dead_at IS NOT NULL AND
"""
_RETRY_ALL = text(_REVIVE + "w.webhook_id = :webhook_id")
_RETRY_ONE = text(_REVIVE + "d.delivery_id = :delivery_id")

_STATE = text("SELECT state FROM webhook_deliveries WHERE delivery_id = :delivery_id")


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address, and the secret that signs its requests."""

    webhook_id: int
    name: str
    url: str = field(repr=False)
    secret: str = field(repr=False)
    is_paused: bool


@dataclass(frozen=True, slots=True)
class WebhookReport:
    """A webhook as people see it, without its secret.

    `models` and `lanes` are empty where it wants all. `waiting` counts open deliveries, the oldest
    of them from `waiting_since`; `dead` counts those without attempts left.
    """

    name: str
    url: str
    verdicts: tuple[str, ...]
    events: tuple[str, ...]
    models: tuple[str, ...]
    lanes: tuple[str, ...]
    created_at: datetime
    paused_at: datetime | None
    paused_because: str | None
    waiting: int
    waiting_since: datetime | None
    dead: int
    last_delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeadDelivery:
    """A dead delivery, and the outcome of its last attempt."""

    delivery_id: int
    webhook: str
    type: str
    verdict: str | None
    model: str | None
    scan_id: int | None
    image_id: int | None
    uri: str | None
    attempts: int
    last_status: int | None
    last_error: str | None
    created_at: datetime
    dead_at: datetime


def add_webhook(
    connection: Connection,
    *,
    name: str,
    url: str,
    secret: str,
    verdicts: Sequence[VerdictWord],
    events: Sequence[Event] = (),
    models: Sequence[str] = (),
    lanes: Sequence[Lane] = (),
) -> int:
    """Add a webhook for verdicts and events from now on; return its row.

    No models or lanes means all.

    Raises:
        WebhookError: the name is invalid, or another webhook has it.
    """
    if not _NAME.fullmatch(name):
        raise WebhookError(
            f"{name!r} cannot name a webhook; begin with a small letter, and use small letters, "
            f"digits, and . _ - only, 63 at most"
        )
    new = {
        "name": name,
        "url": url,
        "secret": secret,
        "verdicts": [word.value for word in verdicts],
        "events": [event.value for event in events],
        "models": list(models) or None,
        "lanes": [lane.value for lane in lanes] or None,
    }
    webhook_id = connection.execute(_ADD, new).scalar_one_or_none()
    if webhook_id is None:
        raise WebhookError(
            f"there is a webhook {name!r} already; `fakesweep webhook remove {name}` makes room "
            f"for another, or give this one another name"
        )
    return int(webhook_id)


def find_webhook(connection: Connection, name: str) -> Webhook:
    """Return a webhook, locked until the transaction ends.

    Raises:
        WebhookError: there is none of that name.
    """
    row = connection.execute(_FIND, {"name": name}).mappings().one_or_none()
    if row is None:
        raise _unknown(name)
    return Webhook(**row)


def list_webhooks(connection: Connection) -> list[WebhookReport]:
    """Return every webhook that is not removed, by name."""
    return [_report(row) for row in connection.execute(_LIST).mappings()]


def pause_webhook(connection: Connection, name: str) -> bool:
    """Pause a webhook; return False where it was paused already.

    Its deliveries are still recorded.

    Raises:
        WebhookError: there is none of that name.
    """
    webhook = find_webhook(connection, name)
    asked = {"webhook_id": webhook.webhook_id, "because": None}
    return connection.execute(_PAUSE, asked).rowcount == 1


def resume_webhook(connection: Connection, name: str) -> bool:
    """Resume a webhook, open deliveries at once; return False where it was not paused.

    Raises:
        WebhookError: there is none of that name.
    """
    webhook = find_webhook(connection, name)
    if not webhook.is_paused:
        return False
    connection.execute(_RESUME, {"webhook_id": webhook.webhook_id})
    connection.execute(_MAKE_DUE, {"webhook_id": webhook.webhook_id})
    return True


def remove_webhook(connection: Connection, name: str) -> None:
    """Remove a webhook: drop its open deliveries, and delete its secret.

    Raises:
        WebhookError: there is none of that name.
    """
    webhook = find_webhook(connection, name)
    connection.execute(_REMOVE, {"webhook_id": webhook.webhook_id})


def dead_deliveries(
    connection: Connection, name: str | None, at_most: int
) -> tuple[list[DeadDelivery], int]:
    """Return the newest dead deliveries of a webhook, and the number of all.

    Raises:
        WebhookError: there is no webhook of that name.
    """
    if name is not None and connection.execute(_IS_THERE, {"name": name}).one_or_none() is None:
        raise _unknown(name)
    rows = connection.execute(_DEAD, {"name": name, "at_most": at_most}).mappings()
    found = [DeadDelivery(**row) for row in rows]
    return found, int(connection.execute(_DEAD_COUNT, {"name": name}).scalar_one())


def retry_dead(connection: Connection, name: str) -> int:
    """Reset every dead delivery of a webhook to due and untried; return their number.

    Raises:
        WebhookError: there is none of that name.
    """
    webhook = find_webhook(connection, name)
    return connection.execute(_RETRY_ALL, {"webhook_id": webhook.webhook_id}).rowcount


def retry_delivery(connection: Connection, delivery_id: int) -> None:
    """Reset one dead delivery to due and untried.

    Raises:
        WebhookError: there is none, or it is not dead.
    """
    if connection.execute(_RETRY_ONE, {"delivery_id": delivery_id}).rowcount:
        return
    state = connection.execute(_STATE, {"delivery_id": delivery_id}).scalar_one_or_none()
    if state is None:
        raise WebhookError(
            f"there is no delivery {delivery_id}; `fakesweep webhook dead` lists those that died"
        )
    raise WebhookError(f"delivery {delivery_id} is not dead but {state}; there is nothing to retry")


def _unknown(name: str) -> WebhookError:
    return WebhookError(
        f"there is no webhook {name!r}; `fakesweep webhook list` shows those there are"
    )


def _report(row: Any) -> WebhookReport:
    lists = {name: tuple(row[name] or ()) for name in ("verdicts", "events", "models", "lanes")}
    return WebhookReport(**{**row, **lists})
