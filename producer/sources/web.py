"""HTTP source: one image, or the bytes of a manifest."""

from collections.abc import Generator, Iterator
from contextlib import closing

from urllib3 import BaseHTTPResponse, PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError, MaxRetryError

from fakesweep.producer.sources.deadlines import connections_here
from fakesweep.producer.sources.errors import BrokenOff, reason_of
from fakesweep.producer.sources.names import shown
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.ledger.scans.scans import ListedImage
from fakesweep.schema.net.egress import AddressRefused, open_pools, redirected
from fakesweep.schema.net.storage import USER_AGENT
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import scheme_of

MAX_REDIRECTS = 5
LONGEST_PAUSE_SECONDS = 20
PIECE_BYTES = 1024 * 1024
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_OK = 200


def list_url(source: str, cursor: str | None) -> Iterator[ListedImage]:
    """List one URL as one image, without a check of its existence."""
    if cursor is None:
        yield ListedImage(source, "1")


def read_url(source: str, settings: Settings) -> Generator[bytes]:
    """Yield the decoded bytes of a URL in pieces; only admitted addresses are requested.

    Raises:
        SourceError: the URL cannot be read; `BrokenOff` where a retry may succeed.
    """
    stall_seconds = settings.fetch_timeout_seconds
    timeout = Timeout(connect=stall_seconds, read=stall_seconds)
    headers, watch = {"User-Agent": USER_AGENT}, connections_here().watch
    with (
        open_pools(settings, watch, timeout=timeout, headers=headers) as pool,
        closing(_answer(pool, source, settings)) as response,
    ):
        if response.status != _OK:
            raise SourceError(
                f"{shown(source)} cannot be read: its server answers {response.status}; "
                f"check the address"
            )
        try:
            # `read1` returns partial data, so a slow transfer still counts as progress.
            while piece := response.read1(PIECE_BYTES):
                yield piece
        except HTTPError as error:
            raise BrokenOff(f"{shown(source)} broke off; try again") from error


def _answer(pool: PoolManager, source: str, settings: Settings) -> BaseHTTPResponse:
    """Request a URL and follow its redirects; each address is checked anew."""
    url = source
    for _ in range(MAX_REDIRECTS + 1):
        response = _asked(pool, url, source, settings)
        location = response.get_redirect_location()
        if not location:
            return response
        response.close()
        try:
            url = redirected(url, location)
        except InvalidUri as error:
            raise SourceError(
                f"{shown(source)} cannot be read: it redirects to an address that is refused: "
                f"{error}; check the address"
            ) from error
        if scheme_of(url) not in ("http", "https"):
            raise SourceError(
                f"{shown(source)} cannot be read: it redirects to a {scheme_of(url)}:// address, "
                f"which is refused; check the address"
            )
    raise SourceError(
        f"{shown(source)} cannot be read: more than {MAX_REDIRECTS} redirects; check the address"
    )


def _asked(pool: PoolManager, url: str, source: str, settings: Settings) -> BaseHTTPResponse:
    try:
        return pool.request(
            "GET", url, redirect=False, preload_content=False, retries=_retries(settings)
        )
    except AddressRefused as error:
        raise SourceError(
            f"{shown(source)} cannot be read: {error}; name its network there, or give the "
            f"manifest as a file"
        ) from error
    except (HTTPError, UnicodeError) as error:
        raise SourceError(
            f"{shown(source)} cannot be read: {_reason(error)}; check the address"
        ) from error


def _retries(settings: Settings) -> Retry:
    attempts = settings.fetch_attempts - 1
    return Retry(
        total=attempts,
        connect=attempts,
        read=attempts,
        status=attempts,
        redirect=False,
        status_forcelist=_BUSY,
        raise_on_status=False,
        backoff_factor=0.5,
        backoff_jitter=0.5,
        backoff_max=LONGEST_PAUSE_SECONDS,
        retry_after_max=LONGEST_PAUSE_SECONDS,
    )


def _reason(error: Exception) -> str:
    # The outer error holds the whole URL, with the secrets of its query.
    cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    return reason_of(cause)
