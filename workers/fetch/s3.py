"""Reads S3 objects: boto3 finds the route to each bucket, then plain signed requests reuse it."""

import http.client
import threading
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, cast

import boto3.session
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.credentials import Credentials
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
from urllib3.exceptions import HTTPError

from fakesweep.schema.failures import (
    AccessDenied,
    FetchFailure,
    FetchTimedOut,
    ImageNotFound,
    InvalidUri,
    SourceUnavailable,
)
from fakesweep.schema.net.storage import (
    HOW_TO_DO_WITHOUT_CREDENTIALS,
    HOW_TO_GIVE_CREDENTIALS,
    Refusal,
    begin_unpacking,
    how_to_be_admitted,
    one_line,
    refusal_of,
    s3_options,
)
from fakesweep.schema.uris import S3Address
from fakesweep.workers.fetch.body import check_size, read_response
from fakesweep.workers.fetch.errors import broken, refused
from fakesweep.workers.fetch.retry import Deadline, Transient
from fakesweep.workers.fetch.s3_routes import ErrorAnswer, Route, read_error, route_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from fakesweep.schema.settings import Settings

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

MAX_ROUTES = 10
"""Routes with own connections, one for each bucket host; boto3 keeps as many."""


class S3Reader:
    """Reads objects over pooled connections; the first read makes the client.

    Boto3 fetches the first object of a bucket, since it knows profiles, endpoints, regions,
    redirects and proxies. Later requests reuse its route at half the work or less.
    """

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._asked = s3_options(settings, attempts=1).request
        self._lock = threading.Lock()
        self._opened: S3Client | None = None
        self._credentials: Credentials | None = None
        self._sent = threading.local()
        self._routes: dict[str, Route] = {}

    def read(self, address: S3Address, deadline: Deadline) -> bytes:
        """Read a whole object, in the current or the named version.

        Raises:
            Transient: S3 is busy, answers with errors, or broke off.
            FetchFailure: S3 refuses, has no such object, or the object is too large.
            InvalidUri: the bucket's name is not allowed.
        """
        try:
            route = self._routes.get(address.bucket)
            content = None if route is None else self._read_by_route(route, address, deadline)
            return self._read_by_boto3(address, deadline) if content is None else content
        except (BotoCoreError, ClientError) as error:
            raise _explained(error, address, self._settings) from error

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for route in self._routes.values():
                route.pool.close()
            self._routes.clear()
            if self._opened is not None:
                self._opened.close()

    def _read_by_route(self, route: Route, address: S3Address, deadline: Deadline) -> bytes | None:
        """Read an object by its bucket's known route; return None where the route is stale."""
        try:
            response = route.ask(address)
        except HTTPError as error:
            raise broken(error, self._settings, "S3") from error
        with response:
            if response.status < http.client.MULTIPLE_CHOICES:
                return self._read_body(response, address, deadline)
            answer = read_error(response)
        if not answer.leads_elsewhere:
            raise _refused(answer, address, self._settings)
        with self._lock:
            self._routes.pop(address.bucket, None)
        return None

    def _read_by_boto3(self, address: S3Address, deadline: Deadline) -> bytes:
        asked: dict[str, Any] = {"Bucket": address.bucket, "Key": address.key, **self._asked}
        if address.version is not None:
            asked["VersionId"] = address.version
        answer = self._client().get_object(**asked)
        # The body's context manager returns the connection's own response.
        body = cast("AbstractContextManager[BaseHTTPResponse]", answer["Body"])
        with body as response:
            self._learn(address, response)
            return self._read_body(response, address, deadline)

    def _read_body(
        self, response: BaseHTTPResponse, address: S3Address, deadline: Deadline
    ) -> bytes:
        _check_version(response, address)
        length = response.headers.get("Content-Length", "")
        announced = int(length) if length.isdecimal() else None
        check_size(announced or 0, self._settings)
        unpack = begin_unpacking(response)
        content = read_response(response, self._settings, deadline, "S3", unpack=unpack)
        if announced is not None and response.tell() != announced:
            reason = f"the object broke off after {response.tell()} of {announced} bytes"
            raise Transient(SourceUnavailable(reason))
        return content

    def _client(self) -> "S3Client":
        with self._lock:
            if self._opened is None:
                session = boto3.session.Session()
                self._opened = _open_client(session, self._settings)
                self._opened.meta.events.register("before-send.s3.GetObject", self._note)
                self._credentials = session.get_credentials()
            return self._opened

    def _note(self, request: AWSPreparedRequest, **_: object) -> None:
        self._sent.request = request

    def _learn(self, address: S3Address, response: BaseHTTPResponse) -> None:
        """Keep the route of this thread's last request, after any redirects."""
        request: AWSPreparedRequest = self._sent.request
        credentials = None if self._settings.s3_unsigned else self._credentials
        route = route_of(request, response, address, credentials, self._settings.s3_request_payer)
        if route is None:
            return
        with self._lock:
            self._routes.pop(address.bucket, None)
            if len(self._routes) == MAX_ROUTES:
                del self._routes[next(iter(self._routes))]
            self._routes[address.bucket] = route


def _open_client(session: boto3.session.Session, settings: "Settings") -> "S3Client":
    # One attempt a call: `with_attempts` retries the call and its body.
    options = s3_options(settings, attempts=1)
    try:
        return session.client("s3", config=Config(**options.config), **options.client)
    except ValueError as error:
        reason = f"S3 cannot be asked: {one_line(str(error))}; check FAKESWEEP_S3_ENDPOINT_URL"
        raise SourceUnavailable(reason) from error


def _check_version(response: BaseHTTPResponse, address: S3Address) -> None:
    """Refuse a version that was not requested; some services ignore versions."""
    # In a bucket without versioning the only version is `null`, which has no header.
    version = response.headers.get("x-amz-version-id", "null")
    if address.version not in (None, version):
        raise SourceUnavailable("S3 answers with another version; does the service keep versions?")


def _explained(
    error: BotoCoreError | ClientError, address: S3Address, settings: "Settings"
) -> Transient | FetchFailure | InvalidUri:
    said = one_line(str(error))
    match error:
        case ClientError():
            return _refused(_answer_of(error), address, settings)
        case _ if isinstance(error, _WITHOUT_CREDENTIALS):
            return AccessDenied(
                f"no S3 credentials on this worker: {HOW_TO_GIVE_CREDENTIALS}; "
                f"{HOW_TO_DO_WITHOUT_CREDENTIALS}"
            )
        case ParamValidationError():
            return InvalidUri("S3 allows no bucket of this name")
        case ConnectTimeoutError() | ReadTimeoutError():
            waited = f"{settings.fetch_timeout_seconds:g} s"
            return Transient(FetchTimedOut(f"S3 did not answer within {waited}"))
        case ConnectionError() | HTTPClientError():
            return Transient(SourceUnavailable(f"S3 does not answer: {said}"))
        case _:
            return SourceUnavailable(f"S3 cannot be asked: {said}")


def _refused(
    answer: ErrorAnswer, address: S3Address, settings: "Settings"
) -> Transient | FetchFailure:
    said = f"{answer.code}: {answer.message}" if answer.message else answer.code
    refusal = refusal_of(answer.status, answer.code)
    words = one_line(f"S3 answers {said}")
    if refusal is Refusal.DENIED:
        words += how_to_be_admitted(settings)
    failure = refused(refusal, words, answer.retry_after)
    if isinstance(failure, ImageNotFound) and "?versionId=" in address.key:
        return ImageNotFound(f"{failure}; a version is written s3://bucket;versionId=ID/key")
    return failure


def _answer_of(error: ClientError) -> ErrorAnswer:
    said, answered = error.response["Error"], error.response["ResponseMetadata"]
    return ErrorAnswer(
        status=answered.get("HTTPStatusCode", 0),
        code=said.get("Code", "an error"),
        message=said.get("Message"),
        retry_after=answered.get("HTTPHeaders", {}).get("retry-after"),
    )
