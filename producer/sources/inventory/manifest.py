"""Manifest of an S3 Inventory: its data files and their format."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from io import BufferedRandom
from typing import Any

from fakesweep.producer.sources.names import shown
from fakesweep.producer.sources.s3.prefix import read_object
from fakesweep.producer.sources.spooled import copied
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import from_s3

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 64 * 1024 * 1024
_DIGEST_LETTERS = 16


class InventoryFormat(StrEnum):
    """Format of an inventory's data files, as its manifest spells it."""

    CSV = "CSV"
    ORC = "ORC"
    PARQUET = "Parquet"


@dataclass(frozen=True, slots=True)
class InventoryFile:
    """Data file of an inventory."""

    uri: str
    md5: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """Parsed manifest; `digest` is the manifest's own, `columns` are those of its CSV files."""

    digest: str
    bucket: str
    written_as: InventoryFormat
    columns: tuple[str, ...]
    has_versions: bool
    files: tuple[InventoryFile, ...]


def read_inventory(source: str, settings: Settings) -> Inventory:
    """Read and parse a manifest.

    Raises:
        SourceError: the file cannot be read, or is no manifest of an S3 Inventory.
    """
    with _copied(source, settings) as stream:
        raw = stream.read(MAX_MANIFEST_BYTES + 1)
    digest = hashlib.sha256(raw).hexdigest()[:_DIGEST_LETTERS]
    try:
        return _understood(_parsed(raw), digest)
    except (ValueError, InvalidUri) as error:
        raise SourceError(
            f"{shown(source)} is no manifest of an S3 Inventory: {error}; name the {MANIFEST} that "
            f"S3 writes beside an inventory"
        ) from error


@contextmanager
def opened_file(file: InventoryFile, settings: Settings) -> Iterator[BufferedRandom]:
    """Open a spooled copy of a data file: a listing may outlast the server's connection.

    Raises:
        SourceError: the file cannot be read, or its MD5 differs from the manifest's.
    """
    with _copied(file.uri, settings) as stream:
        if hashlib.file_digest(stream, _md5).hexdigest() != file.md5:
            raise SourceError(
                f"{shown(file.uri)} is not what its inventory says: another MD5 checksum; scan the "
                f"manifest of an inventory that is whole"
            )
        stream.seek(0)
        yield stream


def _parsed(raw: bytes) -> Any:
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ValueError(f"it is longer than {MAX_MANIFEST_BYTES} bytes")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not JSON") from error


def _understood(said: Any, digest: str) -> Inventory:
    if not isinstance(said, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - the text is at fault
    written_as, schema = _format(_text(said, "fileFormat")), _text(said, "fileSchema")
    columns = tuple(name.strip() for name in schema.split(","))
    if written_as is InventoryFormat.CSV and "Key" not in columns:
        raise ValueError("its `fileSchema` names no column `Key`")
    files = said.get("files")
    if not isinstance(files, list):
        raise ValueError("it has no list `files`")  # noqa: TRY004 - the text is at fault
    # An ARN, as in arn:aws:s3:::bucket; other services than Amazon's write the name alone.
    kept_in = _text(said, "destinationBucket").rpartition(":")[2]
    return Inventory(
        digest, _text(said, "sourceBucket"), written_as, columns,
        "VersionId" in columns or "version_id" in schema,
        tuple(_file(kept_in, one) for one in files),
    )  # fmt: skip


def _file(bucket: str, said: Any) -> InventoryFile:
    if not isinstance(said, dict):
        raise ValueError("one of its `files` is no JSON object")  # noqa: TRY004 - as above
    key = _text(said, "key")
    return InventoryFile(from_s3(bucket, key), _text(said, "MD5checksum").lower())


def _format(name: str) -> InventoryFormat:
    for written_as in InventoryFormat:
        if written_as.value.lower() == name.lower():
            return written_as
    raise ValueError(f"its `fileFormat` is none of {', '.join(InventoryFormat)}")


def _text(said: dict[str, Any], field: str) -> str:
    match said.get(field):
        case str(text) if text:
            return text
        case _:
            raise ValueError(f"it has no `{field}`")


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def _copied(uri: str, settings: Settings) -> AbstractContextManager[BufferedRandom]:
    return copied(read_object, uri, settings)
