"""Payloads of deliveries."""

import json
from datetime import UTC, datetime, timedelta, timezone

from fakesweep.producer.webhooks.payload import body_of, example_body, message_id
from fakesweep.schema.ledger.webhooks.webhooks import Webhook
from tests.unit.producer.webhooks.deliveries import delivery


def test_a_verdict_is_told_whole() -> None:
    assert json.loads(body_of(delivery())) == {
        "type": "verdict.given",
        "timestamp": "2026-05-04T03:02:01.000005Z",
        "data": {
            "image_id": 12,
            "uri": "s3://photos/a.jpg",
            "scan_id": 3,
            "model": "tiny",
            "model_revision": "r1",
            "verdict": "fake",
            "kind": "deepfake",
            "p_fake": 0.93,
            "policy": "default",
            "sha256": "ab" * 32,
            "judged_at": "2026-05-04T03:02:01.000005Z",
        },
    }


def test_a_changed_verdict_says_what_it_was_before() -> None:
    said = json.loads(body_of(delivery(before="fake", verdict="real", kind=None)))
    assert said["type"] == "verdict.changed"
    assert (said["data"]["before"], said["data"]["verdict"]) == ("fake", "real")
    assert said["data"]["kind"] is None


def test_every_attempt_says_the_same() -> None:
    elsewhere = delivery().judged_at.astimezone(timezone(timedelta(hours=2)))
    again = delivery(attempts=3, judged_at=elsewhere)
    assert body_of(again) == body_of(delivery())
    assert message_id(again) == message_id(delivery()) == "msg_018f3c1e7d2a4a529c550123456789ab"


def test_a_test_has_the_shape_of_a_verdict_under_a_type_of_its_own() -> None:
    webhook = Webhook(1, "moderation", "https://hooks.example.org/", "whsec_hush", is_paused=False)
    said = json.loads(example_body(webhook, datetime(2026, 5, 4, tzinfo=UTC)))
    assert said["type"] == "webhook.test"
    assert said["data"].keys() == json.loads(body_of(delivery()))["data"].keys()


def test_secrets_and_addresses_are_in_no_body_and_no_representation() -> None:
    told = body_of(delivery()).decode() + repr(delivery())
    webhook = Webhook(
        1, "moderation", "https://example.org/?key=hush", "whsec_hush", is_paused=True
    )
    assert "hush" not in told + repr(webhook)


def test_a_forgotten_image_has_no_payload() -> None:
    assert not delivery().is_forgotten
    assert delivery(uri=None).is_forgotten
    assert delivery(sha256=None).is_forgotten
    assert not delivery(kind=None, before=None).is_forgotten
