"""S3 version source: all versions of the objects under a prefix, page by page."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from fakesweep.producer.sources.deadlines import TimedConnections, watch_client
from fakesweep.producer.sources.errors import explain_s3
from fakesweep.producer.sources.metadata import etag_of, moment_of, size_of
from fakesweep.producer.sources.names import ANY_NAME, NameRule, has_image_extension, shown
from fakesweep.producer.sources.s3.prefix import admitted
from fakesweep.producer.watchdog import progressed
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.ledger.scans.scans import Entry, LeftOut, ListedImage
from fakesweep.schema.net.storage import Refusal, one_line, refusal_of, s3_options
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import S3Address, from_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        ListObjectVersionsOutputTypeDef,
        ObjectVersionTypeDef,
    )

PAGE_KEYS = 1_000
_BETWEEN = "?versionId="
_NO_LISTING = ValueError("its answer is no listing of versions")


class _Place(NamedTuple):
    """Position of a listing: behind one version of a key, or behind all its versions."""

    key: str
    version: str | None


def list_version(source: str, cursor: str | None) -> Iterator[ListedImage]:
    """List one version as one image, without a check of its existence."""
    if cursor is None:
        yield ListedImage(source, "1")


def list_versions(
    source: str, cursor: str | None, settings: Settings, names: NameRule = ANY_NAME
) -> Iterator[Entry]:
    """List all versions of the objects under a prefix, the newest of a key first.

    A cursor is a percent-encoded key and version. Delete markers are skipped; the versions behind
    them are listed. Prefixes and keys count as for `list_prefix`.

    Raises:
        SourceError: the bucket is refused or cannot be listed; entries listed before stay valid.
    """
    address, after = admitted(source, settings), _place_of(cursor) if cursor else None
    is_whole = after is not None and _is_whole_key(address.key, after.key)
    for found in _versions(address, after, settings):
        key = found["Key"]
        if is_whole and key != address.key:
            return
        is_whole = _is_whole_key(address.key, key)
        reason = names.refusal_of(key)
        if reason is None:
            yield _listed(address.bucket, found)
        else:
            yield LeftOut(_cursor_of(key, found["VersionId"]), reason)


def _versions(
    address: S3Address, after: _Place | None, settings: Settings
) -> Iterator["ObjectVersionTypeDef"]:
    """Yield the versions under a prefix, behind a position.

    Cursors need key order, so the order is checked. Some servers repeat the version of the marker,
    which is skipped.
    """
    where, last_key = f"s3://{address.bucket}/{address.key}", after.key if after else ""
    asked = s3_options(settings, settings.fetch_attempts).request
    with (
        closing(TimedConnections()) as connections,
        _opened(where, settings, connections) as client,
    ):
        while True:
            with _explained(where, settings), connections.limited(settings.list_timeout_seconds):
                page = _page(client, address, after, asked)
            progressed()
            for found in page.get("Versions", []):
                if found["Key"] < last_key:
                    raise SourceError(
                        f"{shown(where)} is not listed in the order of its keys, so a listing "
                        f"could not go on where it stopped; list it into a manifest and scan that"
                    )
                last_key = found["Key"]
                if after != (found["Key"], found["VersionId"]):
                    yield found
            before, after = after, _next_place(page, where, settings)
            if after is None:
                return
            if before is not None and (after == before or after.key < before.key):
                raise explain_s3(_NO_LISTING, where, settings)


def _page(
    client: "S3Client", address: S3Address, after: _Place | None, asked: Mapping[str, Any]
) -> "ListObjectVersionsOutputTypeDef":
    behind: dict[str, Any] = {}
    if after is not None:
        behind["KeyMarker"] = after.key
        if after.version is not None:
            behind["VersionIdMarker"] = after.version
    return client.list_object_versions(
        Bucket=address.bucket, Prefix=address.key, MaxKeys=PAGE_KEYS, **behind, **asked
    )


def _next_place(
    page: "ListObjectVersionsOutputTypeDef", where: str, settings: Settings
) -> _Place | None:
    if "IsTruncated" not in page:  # an ordinary web page has no versions either
        raise explain_s3(_NO_LISTING, where, settings)
    if not page["IsTruncated"]:
        return None
    if not page.get("NextKeyMarker"):
        raise explain_s3(_NO_LISTING, where, settings)
    return _Place(page["NextKeyMarker"], page.get("NextVersionIdMarker") or None)


def _is_whole_key(prefix: str, key: str) -> bool:
    return key == prefix and has_image_extension(prefix)


def _place_of(cursor: str) -> _Place:
    key, _, version = cursor.partition(_BETWEEN)
    return _Place(unquote(key), unquote(version))


def _cursor_of(key: str, version: str) -> str:
    return f"{quote(key)}{_BETWEEN}{quote(version, safe='')}"


def _listed(bucket: str, found: "ObjectVersionTypeDef") -> ListedImage:
    key, version = found["Key"], found["VersionId"]
    cursor = _cursor_of(key, version)
    try:
        uri = from_s3(bucket, key, version)
    except InvalidUri as error:
        reason = f"version {one_line(version, 40)} of key {one_line(key, 120)}: {error}"
        return ListedImage(f"s3://{bucket}#key={cursor}", cursor, unreadable=reason)
    return ListedImage(
        uri,
        cursor,
        size_bytes=size_of(found.get("Size")),
        etag=etag_of(found.get("ETag")),
        modified_at=moment_of(found.get("LastModified")),
    )


@contextmanager
def _opened(where: str, settings: Settings, connections: TimedConnections) -> Iterator["S3Client"]:
    options = s3_options(settings, attempts=settings.fetch_attempts)
    with _explained(where, settings):
        session = boto3.session.Session()
        client = session.client("s3", config=Config(**options.config), **options.client)
    watch_client(client, connections)
    with closing(client):
        yield client


@contextmanager
def _explained(where: str, settings: Settings) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, ResponseParserError, ValueError) as error:
        if isinstance(error, ClientError) and _is_denied(error):
            said = one_line(str(error.response["Error"].get("Message") or error))
            raise SourceError(
                f"the versions of {shown(where)} may not be listed: {said}; the credentials need "
                f"s3:ListBucketVersions and s3:GetObjectVersion on its bucket"
            ) from error
        raise explain_s3(error, where, settings) from error


def _is_denied(error: ClientError) -> bool:
    status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
    return refusal_of(status, error.response["Error"].get("Code", "")) is Refusal.DENIED
