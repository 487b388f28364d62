"""Secrets and signatures by the Standard Webhooks specification, version 1.0.0."""

import base64
import binascii
import hmac
import secrets

from fakesweep.schema.errors import WebhookError

PREFIX = "whsec_"
SECRET_BYTES = 32
FEWEST_BYTES, MOST_BYTES = 24, 64


def new_secret() -> str:
    """Return a new random secret: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def check_secret(text: str) -> str:
    """Return a given secret, stripped of surrounding white space.

    Raises:
        WebhookError: the secret is malformed; the message does not repeat it.
    """
    secret = text.strip()
    try:
        size_bytes = len(_key(secret)) if secret.startswith(PREFIX) else 0
    except (binascii.Error, ValueError):
        size_bytes = 0
    if not FEWEST_BYTES <= size_bytes <= MOST_BYTES:
        raise WebhookError(
            f"the secret must be {PREFIX} and the base64 of {FEWEST_BYTES} to {MOST_BYTES} random "
            f"bytes; leave it out, and one is made"
        )
    return secret


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header `webhook-signature`: HMAC-SHA256 over id, timestamp and body.

    `timestamp` is the time of the attempt, in seconds since 1970.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.digest(_key(secret), signed, "sha256")
    return "v1," + base64.b64encode(digest).decode("ascii")


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
