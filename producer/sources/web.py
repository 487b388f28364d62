"""HTTP as a source: one image, or the bytes of a manifest."""

from collections.abc import Generator, Iterator
from contextlib import closing

from urllib3 import Retry, Timeout
from urllib3.exceptions import HTTPError, MaxRetryError

from producer.sources.names import shown
from producer.sources.refusals import BrokenOff, reason_of
from schema.errors import SourceError
from schema.ledger import ListedImage
from schema.reach import AddressRefused, open_pools
from schema.settings import Settings
from schema.storage import USER_AGENT

MAX_REDIRECTS = 5
LONGEST_PAUSE_SECONDS = 20
PIECE_BYTES = 1024 * 1024
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_OK = 200


def list_url(source: str, cursor: str | None) -> Iterator[ListedImage]:
    """List one URL as one image; whether it is there shows when it is fetched."""
    if cursor is None:
        yield ListedImage(source, "1")


def read_url(source: str, settings: Settings) -> Generator[bytes]:
    """Yield the bytes behind a URL, piece by piece; admitted addresses alone are asked.

    Raises:
        SourceError: it cannot be read; `BrokenOff` where another attempt may help.
    """
    stall_seconds = settings.fetch_timeout_seconds
    timeout = Timeout(connect=stall_seconds, read=stall_seconds)
    with open_pools(settings, timeout=timeout, headers={"User-Agent": USER_AGENT}) as pool:
        try:
            response = pool.request(
                "GET", source, preload_content=False, retries=_retries(settings)
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
        with closing(response):
            if response.status != _OK:
                raise SourceError(
                    f"{shown(source)} cannot be read: its server answers {response.status}; "
                    f"check the address"
                )
            try:
                while piece := response.read(PIECE_BYTES):
                    yield piece
            except HTTPError as error:
                raise BrokenOff(f"{shown(source)} broke off; try again") from error


def _retries(settings: Settings) -> Retry:
    return Retry(
        total=settings.fetch_attempts - 1 + MAX_REDIRECTS,
        connect=settings.fetch_attempts - 1,
        read=settings.fetch_attempts - 1,
        status=settings.fetch_attempts - 1,
        redirect=MAX_REDIRECTS,
        status_forcelist=_BUSY,
        backoff_factor=0.5,
        backoff_jitter=0.5,
        backoff_max=LONGEST_PAUSE_SECONDS,
        retry_after_max=LONGEST_PAUSE_SECONDS,
    )


def _reason(error: Exception) -> str:
    # The error around the cause holds the whole address, with whatever its query keeps secret.
    cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    return reason_of(cause)
