"""Reads images over HTTP: guarded connections, checked redirects, no address in a message."""

import http.client
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import HTTPError

from fakesweep.schema.failures import AccessDenied, FetchFailure, InvalidUri, SourceUnavailable
from fakesweep.schema.net.egress import AddressRefused, open_pools, redirected
from fakesweep.schema.net.storage import USER_AGENT, one_line, refusal_of
from fakesweep.schema.uris import scheme_of
from fakesweep.workers.fetch.body import check_size, read_response
from fakesweep.workers.fetch.errors import broken, refused
from fakesweep.workers.fetch.retry import Deadline, Transient

if TYPE_CHECKING:
    from fakesweep.schema.settings import Settings

MAX_REDIRECTS = 5


def open_pool(settings: "Settings") -> PoolManager:
    """Return a pool for `fetch_concurrency` threads that connects to admitted addresses only."""
    stall_seconds = settings.fetch_timeout_seconds
    return open_pools(
        settings,
        num_pools=settings.fetch_concurrency,
        maxsize=settings.fetch_concurrency,
        timeout=Timeout(connect=stall_seconds, read=stall_seconds),
        headers={"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
        retries=False,
    )


def read_url(pool: PoolManager, url: str, settings: "Settings", deadline: Deadline) -> bytes:
    """Read the body of a normalised URL, after its redirects.

    Raises:
        Transient: the server is busy, answers with errors, or broke off.
        FetchFailure: the server refuses, has no such image, or sends too much.
    """
    for _ in range(MAX_REDIRECTS + 1):
        admit(url)
        host = _host(url)
        try:
            response = pool.request("GET", url, redirect=False, preload_content=False)
        except (HTTPError, UnicodeError) as error:
            raise _unanswered(error, settings, host) from error
        try:
            location = response.get_redirect_location()
            if not location:
                return _read_body(response, settings, deadline, host)
        finally:
            response.close()
        url = _redirected(url, location)
        deadline.check()
    raise SourceUnavailable(f"more than {MAX_REDIRECTS} redirects")


def admit(url: str) -> None:
    """Refuse redirects to schemes other than HTTP; the connections themselves refuse hosts.

    Raises:
        SourceUnavailable: the scheme is not HTTP.
    """
    if scheme_of(url) not in ("http", "https"):
        raise SourceUnavailable(f"redirects to a {scheme_of(url)}:// address, which is refused")


def _read_body(
    response: BaseHTTPResponse, settings: "Settings", deadline: Deadline, host: str
) -> bytes:
    if not http.client.OK <= response.status < http.client.MULTIPLE_CHOICES:
        raise _refused(response, host)
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal():
        check_size(int(announced), settings)
    return read_response(response, settings, deadline, host)


def _redirected(url: str, location: str) -> str:
    try:
        return redirected(url, location)
    except InvalidUri as error:
        raise SourceUnavailable(f"redirects to an address that is refused: {error}") from error


def _refused(response: BaseHTTPResponse, host: str) -> Transient | FetchFailure:
    phrase = http.client.responses.get(response.status, "")
    answer = f"{host} answers {response.status} {phrase}".strip()
    return refused(refusal_of(response.status), answer, response.headers.get("Retry-After"))


def _unanswered(
    error: HTTPError | UnicodeError, settings: "Settings", host: str
) -> Transient | FetchFailure:
    if isinstance(error, AddressRefused):
        return AccessDenied(str(error))
    if isinstance(error, HTTPError):
        return broken(error, settings, host)
    return SourceUnavailable(f"{host} is no host name")


def _host(url: str) -> str:
    return one_line(urlsplit(url).hostname or "the server")
