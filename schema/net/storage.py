"""Storage: options of S3 clients, and the meaning of error responses."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from fakesweep.schema import __version__

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from fakesweep.schema.settings import Settings

USER_AGENT = f"fakesweep/{__version__}"
HOW_TO_GIVE_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile in AWS_PROFILE, "
    "or give this machine a role"
)
HOW_TO_DO_WITHOUT_CREDENTIALS = "set FAKESWEEP_S3_UNSIGNED=true for what is open to everybody"


class Refusal(Enum):
    """The meaning of a response other than the object."""

    MISSING = auto()
    DENIED = auto()
    ARCHIVED = auto()
    TIMED_OUT = auto()
    BUSY = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class S3Options:
    """Keyword arguments of boto3's `client("s3", ...)` and of botocore's `Config`.

    `request` are those of each call that reads or lists.
    """

    client: Mapping[str, Any]
    config: Mapping[str, Any]
    request: Mapping[str, Any]


# Codes that the HTTP status alone would misjudge.
_CODES = {
    "AuthorizationHeaderMalformed": Refusal.DENIED,
    "ExpiredToken": Refusal.DENIED,
    "InvalidBucketName": Refusal.MISSING,
    "InvalidObjectState": Refusal.ARCHIVED,
    "InvalidToken": Refusal.DENIED,
    "OperationAborted": Refusal.BUSY,
    "RequestTimeout": Refusal.TIMED_OUT,
    "SlowDown": Refusal.BUSY,
    "Throttling": Refusal.BUSY,
    "TokenRefreshRequired": Refusal.DENIED,
}
_STATUSES = {
    401: Refusal.DENIED,
    403: Refusal.DENIED,
    404: Refusal.MISSING,
    407: Refusal.DENIED,
    408: Refusal.TIMED_OUT,
    410: Refusal.MISSING,
    425: Refusal.BUSY,
    429: Refusal.BUSY,
    451: Refusal.DENIED,
    501: Refusal.OTHER,
    505: Refusal.OTHER,
}
_SERVER_ERROR = 500


def s3_options(settings: "Settings", attempts: int, *, writes: bool = False) -> S3Options:
    """Return the options of an S3 client, with up to `attempts` tries of each call.

    Unset options are left to boto3's session: profiles, roles and AWS_* variables count. Writers
    always sign.
    """
    config: dict[str, Any] = {
        "connect_timeout": settings.fetch_timeout_seconds,
        "read_timeout": settings.fetch_timeout_seconds,
        "max_pool_connections": settings.fetch_concurrency,
        "retries": {"mode": "standard", "total_max_attempts": attempts},
        # Bodies are read from the connection and compared with their announced length.
        "response_checksum_validation": "when_required",
        "user_agent_extra": USER_AGENT,
    }
    if settings.s3_addressing_style != "auto":
        config["s3"] = {"addressing_style": settings.s3_addressing_style}
    if settings.s3_unsigned and not writes:
        from botocore import UNSIGNED  # noqa: PLC0415 - the schema needs nothing else of it

        config["signature_version"] = UNSIGNED
    client = {"endpoint_url": settings.s3_endpoint_url} if settings.s3_endpoint_url else {}
    payer = settings.s3_request_payer
    return S3Options(client, config, {"RequestPayer": payer} if payer else {})


def how_to_be_admitted(settings: "Settings") -> str:
    """Return, as half a sentence, the settings that may open a bucket which denies access."""
    ways = []
    if settings.s3_request_payer is None:
        ways.append("FAKESWEEP_S3_REQUEST_PAYER=requester where its reader pays")
    if not settings.s3_unsigned:
        ways.append("FAKESWEEP_S3_UNSIGNED=true where it is open to everybody")
    return f" (or set {', '.join(ways)})" if ways else ""


def begin_unpacking(response: "BaseHTTPResponse") -> bool:
    """Return whether an S3 body was compressed before its upload and must be decompressed.

    Removes `aws-chunked`, which clients leave in `Content-Encoding` after an upload in pieces. The
    caller has not read the body yet.
    """
    words = (word.strip() for word in response.headers.get("Content-Encoding", "").split(","))
    packed = [word for word in words if word.lower() not in ("", "aws-chunked", "identity")]
    if packed:
        response.headers["Content-Encoding"] = ", ".join(packed)
    return bool(packed)


def refusal_of(status: int, code: str = "") -> Refusal:
    """Return the meaning of an HTTP status with S3's error code."""
    if code in _CODES:
        return _CODES[code]
    if code.startswith("KMS."):
        return Refusal.DENIED
    return _STATUSES.get(status, Refusal.BUSY if status >= _SERVER_ERROR else Refusal.OTHER)


def pause_asked_for(retry_after: str | None) -> float | None:
    """Return the seconds of a header Retry-After, given as a number or a date."""
    if retry_after is None:
        return None
    try:
        if retry_after.strip().isdecimal():
            seconds = float(retry_after)
        else:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def one_line(text: str, limit: int = 200) -> str:
    """Return foreign text (a name, a key, a server's message) as one short, printable line."""
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text[:limit]
    )
    return shown + "…" if len(text) > limit else shown
