"""Payload of a delivery: the JSON of a verdict or event, identical at each attempt."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fakesweep.schema.ledger.webhooks.deliveries import Delivery
from fakesweep.schema.ledger.webhooks.webhooks import Webhook
from fakesweep.schema.words import Kind, VerdictWord

GIVEN = "verdict.given"
CHANGED = "verdict.changed"
TEST = "webhook.test"

_NOBODY = UUID(int=0)


def body_of(delivery: Delivery) -> bytes:
    """Return the body of a delivery as JSON; `type` names what happened."""
    if delivery.event is not None:
        at = _moment(delivery.judged_at)
        return _written({"type": delivery.event, "timestamp": at, "data": delivery.said})
    return _body(GIVEN if delivery.before is None else CHANGED, delivery)


def example_body(webhook: Webhook, at: datetime) -> bytes:
    """Return the body of a test delivery: an invented verdict, of type `webhook.test`."""
    example = Delivery(
        delivery_id=0,
        message_id=_NOBODY,
        lease=_NOBODY,
        webhook_id=webhook.webhook_id,
        webhook=webhook.name,
        url=webhook.url,
        secret=webhook.secret,
        attempts=0,
        image_id=0,
        uri="s3://example/image.jpg",
        scan_id=0,
        model="example",
        model_revision="0",
        verdict=VerdictWord.FAKE,
        before=None,
        kind=Kind.UNKNOWN,
        p_fake=0.99,
        policy="default",
        sha256="0" * 64,
        judged_at=at,
    )
    return _body(TEST, example)


def message_id(delivery: Delivery) -> str:
    """Return a delivery's `webhook-id`, by which receivers recognise duplicates."""
    return f"msg_{delivery.message_id.hex}"


def _body(word: str, delivery: Delivery) -> bytes:
    judged_at = _moment(delivery.judged_at)
    data: dict[str, Any] = {
        "image_id": delivery.image_id,
        "uri": delivery.uri,
        "scan_id": delivery.scan_id,
        "model": delivery.model,
        "model_revision": delivery.model_revision,
        "verdict": delivery.verdict,
        "kind": delivery.kind,
        "p_fake": delivery.p_fake,
        "policy": delivery.policy,
        "sha256": delivery.sha256,
        "judged_at": judged_at,
    }
    if delivery.before is not None:
        data["before"] = delivery.before
    return _written({"type": word, "timestamp": judged_at, "data": data})


def _written(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def _moment(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
