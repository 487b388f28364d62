"""S3 as a source: the objects under a prefix, page by page, and the bytes of a manifest."""

import hashlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from producer.sources.names import extension_of, has_image_extension, shown
from producer.sources.refusals import BrokenOff, explain_s3
from schema.errors import SourceError
from schema.failures import InvalidUri
from schema.ledger import ListedImage
from schema.reach import admits_bucket
from schema.settings import Settings
from schema.storage import one_line, s3_options
from schema.uris import S3Address, from_s3, to_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ObjectTypeDef

PAGE_KEYS = 1_000
PIECE_BYTES = 1024 * 1024


def list_prefix(source: str, cursor: str | None, settings: Settings) -> Iterator[ListedImage]:
    """List the objects whose key starts with a prefix; a cursor is a key, percent-encoded.

    The prefix is plain text, as for `aws s3 ls`: `s3://bucket/photos/2024` takes
    `photos/2024/a.jpg` and `photos/2024-old.jpg` alike; end it with a slash to mean a folder.
    A URI that ends like an image and is an object's whole key is that one image. Of the keys,
    those with an image's extension count, and those without any, as uploads often have none.

    Raises:
        SourceError: the bucket is refused or cannot be listed; what was listed before stands.
    """
    address = _admitted(source, settings)
    after = unquote(cursor) if cursor else ""
    if _is_whole_key(address.key, after):
        return
    for found in _objects(address, after, settings):
        key = found["Key"]
        if not key.endswith("/") and (has_image_extension(key) or not extension_of(key)):
            yield _listed(address.bucket, found)
        if _is_whole_key(address.key, key):
            return


def read_object(source: str, settings: Settings) -> Generator[bytes]:
    """Yield the bytes of an object, piece by piece.

    Raises:
        SourceError: it cannot be read; `BrokenOff` where another attempt may help.
    """
    address = _admitted(source, settings)
    with closing(_open_client(settings)) as client, _explained(source, settings):
        answer = client.get_object(Bucket=address.bucket, Key=address.key)
        with closing(answer["Body"]) as body:
            try:
                while piece := body.read(PIECE_BYTES):
                    yield piece
            except (BotoCoreError, HTTPError) as error:
                raise BrokenOff(f"{shown(source)} broke off: {one_line(str(error))}") from error


def _admitted(source: str, settings: Settings) -> S3Address:
    address = to_s3(source)
    if not admits_bucket(address.bucket, settings):
        raise SourceError(
            f"bucket {address.bucket!r} is refused; FAKESWEEP_BUCKETS names those that may be read"
        )
    return address


def _objects(address: S3Address, after: str, settings: Settings) -> Iterator["ObjectTypeDef"]:
    """Yield what is under a prefix, after a key.

    Each page is asked for by the last key, since continuation tokens do not last as long as a
    listing may pause. That needs a server that lists in order, so the order is checked.
    """
    where = f"s3://{address.bucket}/{address.key}"
    with closing(_open_client(settings)) as client:
        token = ""
        while True:
            with _explained(where, settings):
                page = _page(client, address, after, token)
            for found in page.get("Contents", []):
                if found["Key"].encode() <= after.encode():
                    raise SourceError(
                        f"{shown(where)} is not listed in the order of its keys, so a listing "
                        f"could not go on where it stopped; list it into a manifest and scan that"
                    )
                after = found["Key"]
                yield found
            if not _is_truncated(page, where, settings):
                return
            token = "" if page.get("Contents") else page["NextContinuationToken"]


def _page(
    client: "S3Client", address: S3Address, after: str, token: str
) -> "ListObjectsV2OutputTypeDef":
    if token:
        return client.list_objects_v2(
            Bucket=address.bucket, Prefix=address.key, MaxKeys=PAGE_KEYS, ContinuationToken=token
        )
    if after:
        return client.list_objects_v2(
            Bucket=address.bucket, Prefix=address.key, MaxKeys=PAGE_KEYS, StartAfter=after
        )
    return client.list_objects_v2(Bucket=address.bucket, Prefix=address.key, MaxKeys=PAGE_KEYS)


def _is_truncated(page: "ListObjectsV2OutputTypeDef", where: str, settings: Settings) -> bool:
    if "IsTruncated" not in page:  # a web page like any other has no objects either
        raise explain_s3(ValueError("its answer is no listing"), where, settings)
    return page["IsTruncated"]


def _is_whole_key(prefix: str, key: str) -> bool:
    return key == prefix and has_image_extension(prefix)


def _listed(bucket: str, found: "ObjectTypeDef") -> ListedImage:
    key = found["Key"]
    cursor = quote(key)
    try:
        uri = from_s3(bucket, key)
    except InvalidUri as error:
        digest = hashlib.sha256(key.encode()).hexdigest()
        reason = f"key {one_line(key, 120)}: {error}"
        return ListedImage(f"s3://{bucket}#key-{digest}", cursor, unreadable=reason)
    return ListedImage(
        uri,
        cursor,
        size_bytes=found.get("Size"),
        etag=found["ETag"].strip('"') if "ETag" in found else None,
        modified_at=found.get("LastModified"),
    )


def _open_client(settings: Settings) -> "S3Client":
    options = s3_options(settings, attempts=settings.fetch_attempts)
    with _explained("s3://", settings):
        return boto3.session.Session().client(
            "s3", config=Config(**options.config), **options.client
        )


@contextmanager
def _explained(source: str, settings: Settings) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, ResponseParserError, ValueError) as error:
        raise explain_s3(error, source, settings) from error
