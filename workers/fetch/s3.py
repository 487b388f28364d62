"""Images in S3, through boto3's own session."""

import threading
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, cast

import boto3.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, caught beside its siblings
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    LoginError,
    NoAuthTokenError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSOError,
    TokenRetrievalError,
)
from urllib3 import BaseHTTPResponse

from schema.failures import (
    AccessDenied,
    FetchFailure,
    FetchTimedOut,
    InvalidUri,
    SourceUnavailable,
)
from schema.settings import Settings
from schema.storage import HOW_TO_GIVE_CREDENTIALS, one_line, refusal_of, s3_options
from schema.uris import S3Address
from workers.fetch.attempts import Deadline, Transient
from workers.fetch.bodies import check_size, read_response
from workers.fetch.troubles import refused

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

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


class S3Reader:
    """Reads objects over connections it keeps; the first read makes the client."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opened: S3Client | None = None

    def read(self, address: S3Address, deadline: Deadline) -> bytes:
        """Read an object whole.

        Raises:
            Transient: S3 is busy, answers with errors, or broke off.
            FetchFailure: it refuses, has no such object, or the object is too large.
            InvalidUri: no bucket can have this name.
        """
        try:
            answer = self._client().get_object(Bucket=address.bucket, Key=address.key)
        except (BotoCoreError, ClientError) as error:
            raise _explained(error, self._settings) from error
        # As a context manager the body hands out the connection's own response.
        body = cast("AbstractContextManager[BaseHTTPResponse]", answer["Body"])
        announced = answer.get("ContentLength")
        with body as response:
            check_size(announced or 0, self._settings)
            content = read_response(response, self._settings, deadline, "S3")
        if announced is not None and len(content) != announced:
            reason = f"the object broke off after {len(content)} of {announced} bytes"
            raise Transient(SourceUnavailable(reason))
        return content

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()

    def _client(self) -> "S3Client":
        with self._lock:
            if self._opened is None:
                self._opened = _open_client(self._settings)
            return self._opened


def _open_client(settings: Settings) -> "S3Client":
    # One attempt a call: `with_attempts` repeats the call and the body by one rule.
    options = s3_options(settings, attempts=1)
    try:
        return boto3.session.Session().client(
            "s3", config=Config(**options.config), **options.client
        )
    except ValueError as error:
        reason = f"S3 cannot be asked: {one_line(str(error))}; check FAKESWEEP_S3_ENDPOINT_URL"
        raise SourceUnavailable(reason) from error


def _explained(
    error: BotoCoreError | ClientError, settings: Settings
) -> Transient | FetchFailure | InvalidUri:
    said = one_line(str(error))
    match error:
        case ClientError():
            return _refused(error)
        case _ if isinstance(error, _WITHOUT_CREDENTIALS):
            return AccessDenied(f"no S3 credentials on this worker: {HOW_TO_GIVE_CREDENTIALS}")
        case ParamValidationError():
            return InvalidUri("S3 allows no bucket of this name")
        case ConnectTimeoutError() | ReadTimeoutError():
            waited = f"{settings.fetch_timeout_seconds:g} s"
            return Transient(FetchTimedOut(f"S3 did not answer within {waited}"))
        case ConnectionError() | HTTPClientError():
            return Transient(SourceUnavailable(f"S3 does not answer: {said}"))
        case _:
            return SourceUnavailable(f"S3 cannot be asked: {said}")


def _refused(error: ClientError) -> Transient | FetchFailure:
    said, answered = error.response["Error"], error.response["ResponseMetadata"]
    code, message = said.get("Code", "an error"), said.get("Message")
    answer = one_line(f"S3 answers {code}: {message}" if message else f"S3 answers {code}")
    refusal = refusal_of(answered.get("HTTPStatusCode", 0), code)
    return refused(refusal, answer, answered.get("HTTPHeaders", {}).get("retry-after"))
