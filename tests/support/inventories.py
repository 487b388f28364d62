"""Inventories in S3's form, and their listings."""

import gzip
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus

import pyarrow as pa
from pyarrow import orc, parquet

from fakesweep.producer.sources.inventory.listing import list_inventory
from fakesweep.schema.ledger.scans.scans import ListedImage
from fakesweep.schema.settings import read_settings
from fakesweep.schema.uris import to_s3
from tests.support.servers import S3Server

LISTS, SOURCE = "lists", "s3://lists/photos/daily/2024-05-06T01-00Z/manifest.json"
FORMATS = ("CSV", "Parquet", "ORC")
COLUMNS = {
    "Bucket": "bucket", "Key": "key", "VersionId": "version_id", "IsLatest": "is_latest",
    "IsDeleteMarker": "is_delete_marker", "Size": "size",
    "LastModifiedDate": "last_modified_date", "ETag": "e_tag",
}  # fmt: skip
Object = Mapping[str, Any]


def a(key: str, **said: Any) -> Object:
    """Return an object of an inventory."""
    return {"Bucket": "photos", "Key": key, **said}


def packed(objects: Sequence[Object], columns: Sequence[str], written_as: str) -> bytes:
    """Return a data file of an inventory in S3's form."""
    if written_as == "CSV":
        return gzip.compress("".join(f"{_line(one, columns)}\n" for one in objects).encode())
    kinds = {"Size": pa.int64(), "LastModifiedDate": pa.timestamp("ms", "UTC")}
    flags = dict.fromkeys(("IsLatest", "IsDeleteMarker"), pa.bool_())
    table = pa.table(
        {
            COLUMNS[column]: pa.array(
                [one.get(column) for one in objects], (kinds | flags).get(column, pa.string())
            )
            for column in columns
        }
    )
    stream = io.BytesIO()
    if written_as == "Parquet":
        parquet.write_table(table, stream, row_group_size=3)
    else:
        orc.write_table(table, stream)
    return stream.getvalue()


def _line(one: Object, columns: Sequence[str]) -> str:
    return ",".join(f'"{_cell(column, one.get(column))}"' for column in columns)


def _cell(column: str, value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case datetime():
            return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case _:
            written = quote_plus(value, safe="/") if column == "Key" else str(value)
            return written.replace('"', '""')


def manifest(names: Mapping[str, bytes], columns: Sequence[str], written_as: str) -> dict[str, Any]:
    """Return S3's manifest of these files."""
    schemas = {
        "CSV": ", ".join(columns),
        "Parquet": f"message s3.inventory {{ {'; '.join(COLUMNS[one] for one in columns)} }}",
        "ORC": f"struct<{','.join(f'{COLUMNS[one]}:string' for one in columns)}>",
    }
    return {
        "sourceBucket": "photos",
        "destinationBucket": f"arn:aws:s3:::{LISTS}",
        "version": "2016-11-30",
        "creationTimestamp": "1514944800000",
        "fileFormat": written_as,
        "fileSchema": schemas[written_as],
        "files": [
            {"key": name, "size": len(raw), "MD5checksum": hashlib.md5(raw).hexdigest()}
            for name, raw in names.items()
        ],
    }


def put(
    s3: S3Server,
    *files: Sequence[Object],
    written_as: str = "CSV",
    columns: Sequence[str] = ("Bucket", "Key"),
) -> dict[str, Any]:
    """Upload an inventory of these files; return its manifest."""
    names = {
        f"photos/daily/data/{number}": packed(objects, columns, written_as)
        for number, objects in enumerate(files)
    }
    return put_raw(s3, names, columns, written_as)


def put_raw(
    s3: S3Server, names: Mapping[str, bytes], columns: Sequence[str], written_as: str = "CSV"
) -> dict[str, Any]:
    for name, raw in names.items():
        s3.put(LISTS, name, raw)
    said = manifest(names, columns, written_as)
    put_manifest(s3, said)
    return said


def put_manifest(s3: S3Server, said: Any) -> None:
    s3.put(LISTS, to_s3(SOURCE).key, json.dumps(said).encode())


def listed(cursor: str | None = None, *, versions: bool = False) -> list[ListedImage]:
    entries = list_inventory(SOURCE, cursor, read_settings(), versions=versions)
    return [entry for entry in entries if isinstance(entry, ListedImage)]


def uris(cursor: str | None = None, *, versions: bool = False) -> list[str]:
    return [image.uri for image in listed(cursor, versions=versions)]
