"""Secrets and signatures, compared with the receivers' library."""

import base64
import json
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from fakesweep.producer.webhooks.signing import check_secret, new_secret, signature
from fakesweep.schema.errors import WebhookError

BODY = '{"type":"verdict.given","data":{"uri":"s3://photos/é.jpg"}}'.encode()


def _headers(secret: str, **changed: str) -> dict[str, str]:
    now = int(time.time())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": signature(secret, "msg_1", now, BODY),
    } | {name.replace("_", "-"): value for name, value in changed.items()}


def test_a_receiver_accepts_what_is_signed_with_its_secret() -> None:
    secret = new_secret()
    assert Webhook(secret).verify(BODY, _headers(secret)) == json.loads(BODY)


@pytest.mark.parametrize(
    "changed",
    [{"webhook_id": "msg_2"}, {"webhook_timestamp": str(int(time.time()) - 60)}],
)
def test_a_receiver_refuses_what_was_changed_on_the_way(changed: dict[str, str]) -> None:
    secret = new_secret()
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, _headers(secret, **changed))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.replace(b"photos", b"videos"), _headers(secret))


def test_a_receiver_refuses_what_another_secret_signed() -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, _headers(new_secret()))


def test_the_signature_is_the_one_of_the_specification() -> None:
    body = b'{"test": 2432232314}'
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_new_secrets_differ_and_are_long_enough() -> None:
    made = {new_secret() for _ in range(10)}
    assert len(made) == 10
    for secret in made:
        assert check_secret(secret) == secret
        assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32


@pytest.mark.parametrize(
    ("size_bytes", "is_right"), [(23, False), (24, True), (64, True), (65, False)]
)
def test_a_secret_of_ones_own_has_24_to_64_bytes(size_bytes: int, *, is_right: bool) -> None:
    secret = "whsec_" + base64.b64encode(b"x" * size_bytes).decode()
    if is_right:
        assert check_secret(f" {secret}\n") == secret
        return
    with pytest.raises(WebhookError, match="24 to 64 random bytes"):
        check_secret(secret)


@pytest.mark.parametrize(
    "text", ["", "whsec_", "hush-hush", "whsec_hush hush", "whsec_ümlaut", "whsec_" + "x" * 31]
)
def test_an_invalid_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(WebhookError) as refused:
        check_secret(text)
    assert "hush" not in str(refused.value)
