"""A delivery for tests, as the ledger leases it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fakesweep.schema.ledger.webhooks.deliveries import Delivery

_DELIVERY = Delivery(
    delivery_id=7,
    message_id=UUID("018f3c1e-7d2a-4a52-9c55-0123456789ab"),
    lease=UUID(int=1),
    webhook_id=1,
    webhook="moderation",
    url="https://hooks.example.org/told?key=hush",
    secret="whsec_hush",
    attempts=0,
    image_id=12,
    uri="s3://photos/a.jpg",
    scan_id=3,
    model="tiny",
    model_revision="r1",
    verdict="fake",
    before=None,
    kind="deepfake",
    p_fake=0.93,
    policy="default",
    sha256="ab" * 32,
    judged_at=datetime(2026, 5, 4, 3, 2, 1, 5, tzinfo=UTC),
)


def delivery(**changed: Any) -> Delivery:
    return replace(_DELIVERY, **changed)
