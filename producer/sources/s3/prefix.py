"""S3 prefix source: its objects page by page, and the bytes of single objects."""

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote, unquote

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from fakesweep.producer.sources.deadlines import TimedConnections, connections_here, watch_client
from fakesweep.producer.sources.errors import BrokenOff, explain_s3
from fakesweep.producer.sources.names import ANY_NAME, NameRule, has_image_extension, shown
from fakesweep.producer.sources.s3.listing_parser import ListedObject, listing_session
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.ledger.scans.scans import Entry, LeftOut, ListedImage
from fakesweep.schema.net.egress import admits_bucket
from fakesweep.schema.net.storage import begin_unpacking, one_line, s3_options
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import S3Address, from_s3, to_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PAGE_KEYS = 1_000
PIECE_BYTES = 1024 * 1024
MOST_EMPTY_PAGES = 100_000
"""Limit of successive pages without a key, as after mass deletions."""

Bound = Callable[[], str | None]
"""Returns the last key to list, None for all; the bound may change between calls."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.~-][A-Za-z0-9_.~/-]{0,1023}")
"""Keys that need no encoding in a URI or cursor."""


def list_prefix(
    source: str, cursor: str | None, settings: Settings, names: NameRule = ANY_NAME
) -> Iterator[Entry]:
    """List the objects whose key starts with a prefix; a cursor is a percent-encoded key.

    The prefix is plain text, as for `aws s3 ls`: `s3://bucket/photos/2024` matches both
    `photos/2024/a.jpg` and `photos/2024-old.jpg`; a trailing slash means a folder. A prefix with an
    image extension that equals a whole key is that one image. Keys count by name, those of unknown
    kind included.

    Raises:
        SourceError: the bucket is refused or cannot be listed; entries listed before stay valid.
    """
    with opened_prefix(source, settings, names) as prefix:
        for page in prefix.pages(cursor):
            yield from page.entries


class KeyPage(NamedTuple):
    """Entries of successive keys, and the last of these keys."""

    entries: list[Entry]
    last_key: str


class Prefix:
    """Prefix of a bucket; threads can list it concurrently, each from any key on."""

    def __init__(
        self,
        address: S3Address,
        client: "S3Client",
        settings: Settings,
        connections: TimedConnections,
        names: NameRule,
    ) -> None:
        self.start = address.key
        self._address = address
        self._client = client
        self._connections = connections
        self._settings = settings
        self._asked = s3_options(settings, settings.fetch_attempts).request
        self._names = names
        self._uris = f"s3://{address.bucket}/"

    def pages(self, cursor: str | None, until: Bound = lambda: None) -> Iterator[KeyPage]:
        """List page by page from behind a cursor up to the current bound of `until`.

        Each page is requested by the last key, because continuation tokens expire during long
        pauses. This needs key order, so the order is checked. Only after an empty page does the
        token name the next one.

        Raises:
            SourceError: the listing fails.
        """
        after, token, empty_pages = key_of(cursor) if cursor else "", "", 0
        if self._is_whole_key(after):
            return
        while True:
            page = self._page(after, token)
            found, before = page["Objects"], after
            after = self._checked(found, after)
            if (last := until()) is not None and after > last:
                found = [one for one in found if one.key <= last]
                page, after = {"IsTruncated": False}, found[-1].key if found else before
            yield KeyPage(self._entries(found), after)
            if not page["IsTruncated"] or self._is_whole_key(after):
                return
            empty_pages = 0 if found else empty_pages + 1
            token = "" if found else self._next_token(page, token, empty_pages)

    def has_key_after(self, key: str, last: str | None) -> bool:
        """Return whether an object has a key after `key`, up to and including `last`."""
        found = self._page(key, "", keys=1)["Objects"]
        return bool(found) and (last is None or found[0].key <= last)

    def _page(self, after: str, token: str, keys: int | None = None) -> dict[str, Any]:
        behind = {"ContinuationToken": token} if token else {"StartAfter": after} if after else {}
        where = f"s3://{self._address.bucket}/{self._address.key}"
        with (
            _explained(where, self._settings),
            self._connections.limited(self._settings.list_timeout_seconds),
        ):
            page: dict[str, Any] = self._client.list_objects_v2(  # type: ignore[assignment]
                Bucket=self._address.bucket,
                Prefix=self._address.key,
                MaxKeys=keys or PAGE_KEYS,
                **behind,  # type: ignore[arg-type]
                **self._asked,
            )
        if "IsTruncated" not in page:  # an ordinary web page has no objects either
            reason = ValueError("its answer is no listing")
            raise explain_s3(reason, where, self._settings)
        return page

    def _next_token(self, page: dict[str, Any], token: str, empty_pages: int) -> str:
        """Return the continuation token behind an empty page."""
        following: str = page["NextContinuationToken"]
        if following in {"", token} or empty_pages >= MOST_EMPTY_PAGES:
            raise SourceError(
                f"{self._where()} has a listing that does not go on: its server says that there "
                f"is more, and sends no keys; list it into a manifest and scan that"
            )
        return following

    def _where(self) -> str:
        return shown(f"s3://{self._address.bucket}/{self._address.key}")

    def _checked(self, found: list[ListedObject], after: str) -> str:
        for one in found:
            if not one.key.startswith(self.start):
                raise SourceError(
                    f"{self._where()} is listed with keys that do not begin so; its server does "
                    f"not list by prefix, so list it into a manifest and scan that"
                )
            if one.key <= after:
                raise SourceError(
                    f"{self._where()} is not listed in the order of its keys, so a listing could "
                    f"not go on where it stopped; list it into a manifest and scan that"
                )
            after = one.key
        return after

    def _entries(self, found: list[ListedObject]) -> list[Entry]:
        """Return the entries of objects; a whole key ends them."""
        entries: list[Entry] = []
        for one in found:
            key = one.key
            reason = self._names.refusal_of(key)
            if reason is None:
                entries.append(self._listed(one))
            else:
                entries.append(LeftOut(cursor_of(key), reason))
            if self._is_whole_key(key):
                break
        return entries

    def _is_whole_key(self, key: str) -> bool:
        return key == self.start and has_image_extension(key)

    def _listed(self, one: ListedObject) -> ListedImage:
        key = one.key
        if _PLAIN_KEY.fullmatch(key):
            return ListedImage(self._uris + key, key, one.size_bytes, one.etag, one.modified_at)
        cursor = cursor_of(key)
        try:
            uri = from_s3(self._address.bucket, key)
        except InvalidUri as error:
            reason = f"key {one_line(key, 120)}: {error}"
            place = f"s3://{self._address.bucket}#key={cursor}"
            return ListedImage(place, cursor, unreadable=reason)
        return ListedImage(uri, cursor, one.size_bytes, one.etag, one.modified_at)


@contextmanager
def opened_prefix(source: str, settings: Settings, names: NameRule = ANY_NAME) -> Iterator[Prefix]:
    """Open a prefix for listing, with a rule for names.

    Raises:
        SourceError: the bucket is refused.
    """
    address = admitted(source, settings)
    with (
        closing(TimedConnections()) as connections,
        closing(_open_client(settings, connections, listing_session())) as client,
    ):
        yield Prefix(address, client, settings, connections, names)


def cursor_of(key: str) -> str:
    """Return the cursor behind a key."""
    return quote(key, errors="surrogateescape")


def key_of(cursor: str) -> str:
    """Return the key of a cursor."""
    return unquote(cursor, errors="surrogateescape")


def read_object(source: str, settings: Settings) -> Generator[bytes]:
    """Yield the decoded bytes of an object in pieces.

    Raises:
        SourceError: the object cannot be read; `BrokenOff` where a retry may succeed.
    """
    address = admitted(source, settings)
    asked = s3_options(settings, settings.fetch_attempts).request
    with (
        closing(_open_client(settings, connections_here())) as client,
        _explained(source, settings),
    ):
        answer = client.get_object(Bucket=address.bucket, Key=address.key, **asked)
        # As a context manager the body yields urllib3's response.
        body = cast("AbstractContextManager[BaseHTTPResponse]", answer["Body"])
        with body as response:
            yield from _unpacked(response, source)


def _unpacked(response: BaseHTTPResponse, source: str) -> Iterator[bytes]:
    unpack = begin_unpacking(response)
    length = response.headers.get("Content-Length", "")
    try:
        # `read1` returns partial data, so a slow transfer still counts as progress.
        while piece := response.read1(PIECE_BYTES, decode_content=unpack):
            yield piece
    except HTTPError as error:
        raise BrokenOff(f"{shown(source)} broke off: {one_line(str(error))}") from error
    if length.isdecimal() and response.tell() != int(length):
        raise BrokenOff(
            f"{shown(source)} broke off after {response.tell()} of {length} bytes; try again"
        )


def admitted(source: str, settings: Settings) -> S3Address:
    """Return the address of an S3 source in an admitted bucket.

    Raises:
        SourceError: the bucket is refused.
    """
    address = to_s3(source)
    if not admits_bucket(address.bucket, settings):
        raise SourceError(
            f"bucket {address.bucket!r} is refused; FAKESWEEP_BUCKETS names those that may be read"
        )
    return address


def _open_client(
    settings: Settings, connections: TimedConnections, botocore_session: Any = None
) -> "S3Client":
    options = s3_options(settings, attempts=settings.fetch_attempts)
    with _explained("s3://", settings):
        session = boto3.session.Session(botocore_session=botocore_session)
        client = session.client("s3", config=Config(**options.config), **options.client)
    watch_client(client, connections)
    return client


@contextmanager
def _explained(source: str, settings: Settings) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, ResponseParserError, ValueError) as error:
        raise explain_s3(error, source, settings) from error
