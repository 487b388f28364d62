"""S3 routes: boto3's connections to a bucket, reused for other keys without boto3."""

import html
import http.client
import re
import time
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from botocore.awsrequest import AWSPreparedRequest
from botocore.credentials import Credentials
from urllib3 import BaseHTTPResponse, HTTPConnectionPool
from urllib3.exceptions import HTTPError

from fakesweep.schema.net.storage import USER_AGENT
from fakesweep.schema.uris import S3Address
from fakesweep.workers.fetch.sigv4 import encoded, signed_headers

_PORTS = {"http": 80, "https": 443}
_PLAIN = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^,]+/\d{8}/(?P<region>[^,/]+)/s3/aws4_request, "
    r"SignedHeaders=host;x-amz-content-sha256;x-amz-date(;x-amz-request-payer)?"
    r"(;x-amz-security-token)?, "
    r"Signature=[0-9a-f]{64}"
)
_ERROR_BYTES = 64 * 1024
_CODE = re.compile(rb"<Code>([^<]+)</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]+)</Message>")


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error answer of S3, with its own message or else HTTP's phrase."""

    status: int
    code: str
    message: str | None
    retry_after: str | None

    @property
    def leads_elsewhere(self) -> bool:
        """Whether the bucket is in another region or at another address."""
        is_redirect = self.status // 100 == http.HTTPStatus.MULTIPLE_CHOICES // 100
        return is_redirect or self.code == "AuthorizationHeaderMalformed"


@dataclass(frozen=True, slots=True)
class Route:
    """Boto3's connections to a bucket, and the parts its requests have in common.

    Requests without credentials are unsigned.
    """

    pool: HTTPConnectionPool
    host: str
    folder: str
    region: str
    credentials: Credentials | None
    request_payer: str | None = None

    def ask(self, address: S3Address) -> BaseHTTPResponse:
        """Request an object; the caller reads the body and closes the response.

        Raises:
            HTTPError: urllib3's: no answer came.
            BotoCoreError: the credentials have expired and cannot be renewed.
        """
        path, query = self.folder + encoded(address.key), _query(address)
        headers = self._headers(path, query)
        return self.pool.urlopen(
            "GET",
            f"{path}?{query}" if query else path,
            headers={"user-agent": USER_AGENT, **headers},
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
            enforce_content_length=False,
        )

    def _headers(self, path: str, query: str) -> dict[str, str]:
        if self.credentials is None:
            payer = self.request_payer
            return {"x-amz-request-payer": payer} if payer else {}
        keys = self.credentials.get_frozen_credentials()
        return signed_headers(
            self.host, path, self.region, keys, time.gmtime(),
            query=query, request_payer=self.request_payer,
        )  # fmt: skip


def route_of(
    request: AWSPreparedRequest,
    response: BaseHTTPResponse,
    address: S3Address,
    credentials: Credentials | None,
    request_payer: str | None = None,
) -> Route | None:
    """Return the route of a request to an address, or None where it cannot be reused.

    Other signatures (S3 Express, several regions at once, the old ones) and proxies that need
    the whole URL cannot be reused.
    """
    region = _region(_text(request.headers.get("Authorization", "")), credentials)
    # A private attribute: without it boto3 fetches every object, slower but correct.
    pool = getattr(response, "_pool", None)
    parts = urlsplit(request.url)
    port = parts.port or _PORTS.get(parts.scheme)
    key = encoded(address.key)
    folder = parts.path.removesuffix(key)
    if not (
        region is not None
        and isinstance(pool, HTTPConnectionPool)
        and (pool.scheme, pool.host, pool.port) == (parts.scheme, parts.hostname, port)
        and parts.query == _query(address)
        and folder.endswith("/")
        and folder + key == parts.path
    ):
        return None
    host = f"[{pool.host}]" if ":" in pool.host else pool.host
    named = host if port == _PORTS[pool.scheme] else f"{host}:{port}"
    return Route(pool, named, folder, region, credentials, request_payer)


def read_error(response: BaseHTTPResponse) -> ErrorAnswer:
    """Read an error answer of S3."""
    try:
        body = response.read(_ERROR_BYTES)
    except HTTPError:
        body = b""
    status, code = response.status, _CODE.search(body)
    retry_after = response.headers.get("Retry-After")
    if code is None:
        phrase = http.client.responses.get(status)
        return ErrorAnswer(status, str(status), phrase, retry_after)
    message = _MESSAGE.search(body)
    return ErrorAnswer(status, _words(code[1]), message and _words(message[1]), retry_after)


def _region(authorization: str, credentials: Credentials | None) -> str | None:
    """Return the region of a signature, empty for unsigned requests, None for other signatures."""
    if credentials is None:
        return None if authorization else ""
    signed = _PLAIN.fullmatch(authorization)
    return signed["region"] if signed else None


def _query(address: S3Address) -> str:
    return "" if address.version is None else f"versionId={quote(address.version, safe='')}"


def _words(xml: bytes) -> str:
    return html.unescape(xml.decode(errors="replace"))


def _text(header: str | bytes) -> str:
    return header.decode("latin-1") if isinstance(header, bytes) else header
