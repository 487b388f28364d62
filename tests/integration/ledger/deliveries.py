"""Webhooks for tests, and the work of a sender."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine

from fakesweep.schema.ledger.webhooks import webhooks
from fakesweep.schema.ledger.webhooks.deliveries import (
    Delivery,
    Failed,
    record_delivered,
    record_failed,
    take_due,
)
from fakesweep.schema.words import VerdictWord
from tests.integration.ledger.rows import scan, tuples, value

FAKE, UNCERTAIN, REAL = VerdictWord.FAKE, VerdictWord.UNCERTAIN, VerdictWord.REAL
SCORES = {"s3://photos/fake": 0.9, "s3://photos/unsure": 0.5, "s3://photos/real": 0.1}
TOLD = "SELECT webhook, uri, model, type, verdict, before FROM webhook_deliveries ORDER BY 1, 2, 3"


def add(
    engine: Engine,
    name: str = "moderation",
    verdicts: Sequence[VerdictWord] = (FAKE, UNCERTAIN),
    **chosen: Any,
) -> int:
    with engine.begin() as connection:
        return webhooks.add_webhook(
            connection, name=name, url="https://example.org/told?key=hush", secret="whsec_hush",
            verdicts=verdicts, **chosen,
        )  # fmt: skip


def told(engine: Engine) -> list[tuple[Any, ...]]:
    return [(row[0], row[1].rpartition("/")[2], *row[2:]) for row in tuples(engine, TOLD)]


def scan_scores(engine: Engine, *models: int, **asked: Any) -> int:
    return scan(engine, {uri: dict.fromkeys(models, p) for uri, p in SCORES.items()}, **asked)[0]


def take_all(
    engine: Engine, *, lease_seconds: float = 60.0, at_once: int = 100, **free: int
) -> list[Delivery]:
    chosen = {int(key.removeprefix("webhook_")): most for key, most in free.items()}
    with engine.begin() as connection:
        return take_due(connection, uuid4(), lease_seconds, at_once, chosen)


def fail(engine: Engine, delivery: Delivery, pause_seconds: float | None) -> None:
    with engine.begin() as connection:
        record_failed(
            connection, [Failed(delivery, 500, "500 Internal Server Error", pause_seconds)]
        )


def deliver(engine: Engine, *deliveries: Delivery) -> None:
    with engine.begin() as connection:
        record_delivered(connection, [(one.delivery_id, 200) for one in deliveries])


def state_of(engine: Engine, delivery: Delivery) -> str:
    asked = "SELECT state FROM webhook_deliveries WHERE delivery_id = :d"
    return str(value(engine, asked, d=delivery.delivery_id))
