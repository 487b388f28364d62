"""Errors of sources: one-line explanations that say what to do."""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, caught beside its siblings
    CredentialRetrievalError,
    HTTPClientError,
    LoginError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from fakesweep.producer.sources.names import shown
from fakesweep.schema.errors import SourceError
from fakesweep.schema.net.storage import (
    HOW_TO_DO_WITHOUT_CREDENTIALS,
    HOW_TO_GIVE_CREDENTIALS,
    Refusal,
    how_to_be_admitted,
    one_line,
    refusal_of,
)
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import to_s3

_WITHOUT_CREDENTIALS = (
    CredentialRetrievalError,
    LoginError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)


class BrokenOff(SourceError):  # noqa: N818 - says what happened
    """A source ended in the middle of its bytes; a retry may succeed."""


def explain_s3(error: Exception, source: str, settings: Settings) -> SourceError:
    """Return an explanation of S3's error for a source."""
    match error:
        case ClientError():
            return _refused(error, source, settings)
        case _ if isinstance(error, _WITHOUT_CREDENTIALS):
            return SourceError(
                f"{shown(source)} cannot be read without credentials "
                f"({one_line(str(error))}); {HOW_TO_GIVE_CREDENTIALS}; "
                f"{HOW_TO_DO_WITHOUT_CREDENTIALS}"
            )
        case ConnectionError() | HTTPClientError():
            reason = reason_of(error.kwargs.get("error") or error)
            return SourceError(
                f"{shown(source)} cannot be read: {_service(settings)} does not answer "
                f"({reason}); check FAKESWEEP_S3_ENDPOINT_URL and that the service is up"
            )
        case BotoCoreError():
            return SourceError(f"{shown(source)} cannot be read: {one_line(str(error))}")
        case _:
            return SourceError(
                f"{shown(source)} cannot be read: {_service(settings)} is no S3 service "
                f"({one_line(str(error))}); check FAKESWEEP_S3_ENDPOINT_URL"
            )


def reason_of(error: Exception) -> str:
    """Return the operating system's message below a failed connection, or the error's own text."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return one_line(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return one_line(str(error))


def _refused(error: ClientError, source: str, settings: Settings) -> SourceError:
    code = error.response["Error"].get("Code", "")
    status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
    said = one_line(str(error.response["Error"].get("Message") or code))
    bucket = to_s3(source).bucket
    match refusal_of(status, code):
        case Refusal.MISSING if code in ("NoSuchKey", "404"):
            return SourceError(f"{shown(source)} does not exist; check bucket and key")
        case Refusal.MISSING:
            return SourceError(
                f"bucket {bucket!r} does not exist at {_service(settings)}; check its name "
                f"and FAKESWEEP_S3_ENDPOINT_URL"
            )
        case Refusal.DENIED | Refusal.ARCHIVED:
            return SourceError(
                f"{shown(source)} may not be read: {said}; the credentials need s3:ListBucket "
                f"and s3:GetObject on bucket {bucket!r}{how_to_be_admitted(settings)}"
            )
        case _:
            return SourceError(
                f"{shown(source)} cannot be read now: {_service(settings)} answers {code}: {said}"
            )


def _service(settings: Settings) -> str:
    return f"S3 at {settings.s3_endpoint_url}" if settings.s3_endpoint_url else "Amazon S3"
