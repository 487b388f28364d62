"""Secrets and signatures, as the Standard Webhooks specification has them (version 1.0.0)."""

import base64
import binascii
import hmac
import secrets

from fakesweep.schema.errors import WebhookError

PREFIX = "whsec_"
SECRET_BYTES = 32
FEWEST_BYTES, MOST_BYTES = 24, 64


def new_secret() -> str:
    """Return a new secret, in the form that receivers' libraries take."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def check_secret(text: str) -> str:
    """Return a secret of somebody's own, without the white space around it.

    Raises:
        WebhookError: it is none; the message does not repeat it.
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
    """Return what stands in the header `webhook-signature`: HMAC-SHA256 over all three.

    `timestamp` counts seconds since 1970, when this attempt is made.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.digest(_key(secret), signed, "sha256")
    return "v1," + base64.b64encode(digest).decode("ascii")


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
