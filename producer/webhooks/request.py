"""Webhook request: one signed POST to an admitted address, and the receiver's answer."""

import http.client
import ssl
import time
from dataclasses import dataclass

from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import (
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    SSLError,
    TimeoutError,  # noqa: A004 - urllib3's own, caught beside its siblings
)

from fakesweep.producer.webhooks.signing import signature
from fakesweep.schema.errors import WebhookError
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.net.egress import AddressRefused, open_pools
from fakesweep.schema.net.storage import USER_AGENT, one_line, pause_asked_for
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import normalise

MOST_HOSTS = 64
MAX_DRAIN_BYTES = 16 * 1024
MAX_DRAIN_SECONDS = 1.0
"""Limits of reading an answer's body, after which its connection can be reused."""


@dataclass(frozen=True, slots=True)
class ReceiverAnswer:
    """Answer of a receiver; `status` is None where none came.

    `reason` names no address, so it can be shown and logged. `retry_after_seconds` is the
    receiver's own wish, or None.
    """

    status: int | None
    reason: str
    retry_after_seconds: float | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver accepted the delivery: any 2xx."""
        return (
            self.status is not None and http.client.OK <= self.status < http.client.MULTIPLE_CHOICES
        )

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more deliveries: status 410."""
        return self.status == http.client.GONE


def check_url(text: str) -> str:
    """Return a webhook's address in its normal form.

    Raises:
        WebhookError: the address is invalid; the message does not repeat it.
    """
    if not text.lower().startswith(("http://", "https://")):
        raise WebhookError("a webhook is told over https:// or http://; write its whole address")
    try:
        return normalise(text)
    except InvalidUri as error:
        raise WebhookError(f"the address cannot be used: {error}") from error


def open_receivers(settings: Settings, timeout_seconds: float, at_once: int) -> PoolManager:
    """Return a connection pool for admitted addresses; it keeps `at_once` connections per host."""
    return open_pools(
        settings,
        num_pools=MOST_HOSTS,
        maxsize=at_once,
        timeout=Timeout(total=timeout_seconds),
        headers={"User-Agent": USER_AGENT, "Content-Type": "application/json"},
        retries=False,
    )


def send(pool: PoolManager, url: str, secret: str, message_id: str, body: bytes) -> ReceiverAnswer:
    """Send one delivery; errors become answers, and redirects are not followed."""
    timestamp = int(time.time())
    headers = {
        **pool.headers,
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, message_id, timestamp, body),
    }
    try:
        response = pool.request(
            "POST", url, body=body, headers=headers, redirect=False, preload_content=False
        )
    except (HTTPError, UnicodeError) as error:
        return ReceiverAnswer(None, _explained(error))
    answer = ReceiverAnswer(
        response.status,
        f"{response.status} {http.client.responses.get(response.status, '')}".strip(),
        pause_asked_for(response.headers.get("Retry-After")),
    )
    _drain(response)
    return answer


def _drain(response: BaseHTTPResponse) -> None:
    """Return the connection to the pool if the rest of the answer is short, else close it."""
    left_bytes, ends_at = MAX_DRAIN_BYTES, time.monotonic() + MAX_DRAIN_SECONDS
    try:
        while piece := response.read1(left_bytes, decode_content=False):
            left_bytes -= len(piece)
            if left_bytes <= 0 or time.monotonic() > ends_at:
                response.close()
                return
        response.release_conn()
    except HTTPError:
        response.close()


def _explained(error: HTTPError | UnicodeError) -> str:  # noqa: PLR0911 - one line for each
    match error:
        case AddressRefused():
            return "its address is not public, which is refused (FAKESWEEP_ALLOW_NETWORKS)"
        case NameResolutionError():
            return "its host name is not known"
        case NewConnectionError():
            return f"it cannot be reached: {_cause(error)}"
        case TimeoutError():
            return "no answer in time"
        case SSLError():
            return _without_tls(error)
        case ProtocolError():
            return "the connection broke off"
        case _:
            return f"it cannot be asked ({type(error).__name__})"


def _cause(error: NewConnectionError) -> str:
    cause = error.__cause__
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else "no connection"


def _without_tls(error: SSLError) -> str:
    reason = error.args[0]
    if isinstance(reason, ssl.SSLCertVerificationError):
        return one_line(f"its certificate is refused: {reason.verify_message}")
    return one_line(f"no TLS with it: {reason}")
