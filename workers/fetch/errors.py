"""Failures of refusals and broken exchanges; their messages hold no address and no secret."""

import ssl
from typing import TYPE_CHECKING

from urllib3.exceptions import (
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    SSLError,
    TimeoutError,  # noqa: A004 - urllib3's own, caught beside its siblings
)

from fakesweep.schema.failures import (
    AccessDenied,
    FetchFailure,
    FetchTimedOut,
    ImageNotFound,
    SourceUnavailable,
)
from fakesweep.schema.net.storage import Refusal, one_line, pause_asked_for
from fakesweep.workers.fetch.retry import Transient

if TYPE_CHECKING:
    from fakesweep.schema.settings import Settings


def refused(refusal: Refusal, answer: str, retry_after: str | None) -> Transient | FetchFailure:
    """Return the failure of a server's refusal; `answer` is its message.

    `retry_after` is the `Retry-After` header: seconds, or a date.
    """
    match refusal:
        case Refusal.MISSING:
            return ImageNotFound(answer)
        case Refusal.DENIED:
            return AccessDenied(answer)
        case Refusal.ARCHIVED:
            return AccessDenied("the object is archived; restore it in S3, then scan again")
        case Refusal.TIMED_OUT:
            return Transient(FetchTimedOut(answer), pause_asked_for(retry_after))
        case Refusal.BUSY:
            return Transient(SourceUnavailable(answer), pause_asked_for(retry_after))
        case Refusal.OTHER:
            return SourceUnavailable(answer)


def broken(error: HTTPError, settings: "Settings", who: str) -> Transient | FetchFailure:
    """Return the failure of a broken exchange with `who`."""
    match error:
        case NameResolutionError():
            return Transient(SourceUnavailable(f"{who} has no address: its host name is not known"))
        case NewConnectionError():
            return Transient(SourceUnavailable(f"{who} cannot be reached: {_reason(error)}"))
        case TimeoutError():
            waited = f"{settings.fetch_timeout_seconds:g} s"
            return Transient(FetchTimedOut(f"{who} did not answer within {waited}"))
        case SSLError():
            return _without_tls(error, who)
        case ProtocolError():
            return Transient(SourceUnavailable(f"the answer of {who} broke off"))
        case _:
            kind = type(error).__name__
            return SourceUnavailable(f"the answer of {who} cannot be read ({kind})")


def _without_tls(error: SSLError, who: str) -> Transient | FetchFailure:
    reason = error.args[0]
    if isinstance(reason, ssl.SSLCertVerificationError):
        return SourceUnavailable(f"the certificate of {who} is refused: {reason.verify_message}")
    return Transient(SourceUnavailable(f"no TLS with {who}: {one_line(str(reason))}"))


def _reason(error: HTTPError) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return one_line(cause.strerror)
    return type(cause or error).__name__
