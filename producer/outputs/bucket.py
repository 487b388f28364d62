"""S3 output: each file is one PUT of a whole object, under a prefix of its own."""

import base64
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection
from botocore.parsers import ResponseParserError

from fakesweep.producer.outputs.draft import Draft
from fakesweep.producer.sources.errors import reason_of
from fakesweep.schema.errors import OutputError
from fakesweep.schema.net.egress import admits_bucket
from fakesweep.schema.net.storage import Refusal, one_line, refusal_of, s3_options
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import S3Address

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PIECE_BYTES = 1024 * 1024
_CONTENT_TYPES = {"jsonl": "application/x-ndjson", "json": "application/json"}


@dataclass(frozen=True, slots=True)
class Bucket:
    """Prefix of a bucket as an output; it ends with a slash, or is empty."""

    address: S3Address
    settings: Settings
    client: "S3Client"

    def check_new(self) -> None:
        """Refuse a prefix that has objects, or that cannot be written.

        The check creates no object, notification or version.

        Raises:
            OutputError: the bucket is refused, missing or not writable, or the prefix has objects.
        """
        bucket, prefix = self.address.bucket, self.address.key
        if not admits_bucket(bucket, self.settings):
            raise OutputError(
                f"bucket {bucket!r} is refused; FAKESWEEP_BUCKETS names those that may be used"
            )
        with _explained(self.address, self.settings):
            page = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
            if found := page.get("Contents", []):
                raise OutputError(
                    f"{_shown(self.address)} is not empty (it holds "
                    f"{one_line(found[0]['Key'])!r}); an output needs a prefix of its own"
                )
        self.check_written()

    def check_written(self) -> None:
        """Refuse a prefix that cannot be written, by a multipart upload that is aborted at once.

        Raises:
            OutputError: the bucket is missing or not writable.
        """
        bucket, key = self.address.bucket, f"{self.address.key}results/check"
        with _explained(self.address, self.settings):
            begun = self.client.create_multipart_upload(Bucket=bucket, Key=key)
            with suppress(ClientError):  # the right to abort can be missing
                self.client.abort_multipart_upload(
                    Bucket=bucket, Key=key, UploadId=begun["UploadId"]
                )

    @contextmanager
    def draft(self, name: str) -> Iterator[Draft]:  # noqa: ARG002 - a folder's drafts have names
        """Open a draft in an unnamed temporary file, which disappears with the process.

        Raises:
            OutputError: the disk for temporary files is full.
        """
        try:
            with tempfile.TemporaryFile() as file:
                yield Draft(file)
        except OSError as error:
            raise OutputError(
                f"a temporary file in {tempfile.gettempdir()} cannot be written: "
                f"{error.strerror or error}"
            ) from error

    def keep(self, draft: Draft, name: str) -> None:
        """Upload the draft as one object.

        Raises:
            OutputError: S3 refuses it; the message says why.
        """
        draft.file.flush()
        with _explained(self.address, self.settings):
            self.client.put_object(
                Bucket=self.address.bucket,
                Key=self.address.key + name,
                Body=draft.file,
                ContentLength=draft.size_bytes,
                ContentMD5=_md5(draft.file),
                ContentType=_CONTENT_TYPES.get(name.rpartition(".")[2], "application/octet-stream"),
            )

    def tidy(self) -> None:
        """Do nothing: a bucket holds whole objects only."""


@contextmanager
def open_bucket(address: S3Address, settings: Settings) -> Iterator[Bucket]:
    """Open an S3 client for a prefix, without a request.

    Raises:
        OutputError: the settings or the profile are unusable.
    """
    options = s3_options(settings, attempts=settings.fetch_attempts, writes=True)
    # Content-MD5 protects the bytes; many S3-compatible servers know no other checksum.
    config = Config(**options.config, request_checksum_calculation="when_required")
    with _explained(address, settings):
        client = boto3.session.Session().client("s3", config=config, **options.client)
    with closing(client):
        yield Bucket(address, settings, client)


def _md5(file: IO[bytes]) -> str:
    """Return the MD5 digest in base64, and rewind the file."""
    digest = hashlib.md5(usedforsecurity=False)
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        digest.update(piece)
    file.seek(0, os.SEEK_SET)
    return base64.b64encode(digest.digest()).decode("ascii")


@contextmanager
def _explained(address: S3Address, settings: Settings) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, ResponseParserError, ValueError) as error:
        raise OutputError(
            f"{_shown(address)} cannot be written: {_reason(error, address, settings)}"
        ) from error


def _reason(error: Exception, address: S3Address, settings: Settings) -> str:
    service = f"S3 at {settings.s3_endpoint_url}" if settings.s3_endpoint_url else "Amazon S3"
    match error:
        case ClientError():
            code = error.response["Error"].get("Code", "")
            status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
            said = one_line(str(error.response["Error"].get("Message") or code))
            match refusal_of(status, code):
                case Refusal.MISSING:
                    return f"bucket {address.bucket!r} does not exist at {service}; check its name"
                case Refusal.DENIED:
                    return (
                        f"{said}; the credentials need s3:ListBucket and s3:PutObject on bucket "
                        f"{address.bucket!r}"
                    )
                case _:
                    return f"{service} answers {code}: {said}"
        case NoConnection() | HTTPClientError():
            return f"{service} does not answer ({reason_of(error.kwargs.get('error') or error)})"
        case _:
            return one_line(str(error))


def _shown(address: S3Address) -> str:
    return one_line(f"s3://{address.bucket}/{address.key}")
