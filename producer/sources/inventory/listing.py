"""S3 Inventory source: the list of a bucket that S3 writes daily or weekly."""

import re
from collections.abc import Iterator
from urllib.parse import unquote_plus

from fakesweep.producer.sources.inventory.fields import Row
from fakesweep.producer.sources.inventory.manifest import (
    MANIFEST,
    Inventory,
    InventoryFormat,
    opened_file,
    read_inventory,
)
from fakesweep.producer.sources.inventory.rows import BrokenRow, read_rows
from fakesweep.producer.sources.metadata import etag_of, moment_of, size_of
from fakesweep.producer.sources.names import ANY_NAME, NameRule, shown
from fakesweep.producer.watchdog import progressed
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.ledger.scans.scans import Entry, LeftOut, ListedImage
from fakesweep.schema.net.egress import admits_bucket
from fakesweep.schema.net.storage import one_line
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import from_s3, scheme_of
from fakesweep.schema.words import LeftOutReason

_ROWS_OF_PROGRESS = 10_000
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SAID: dict[bool | str | None, bool] = {
    True: True, False: False, "true": True, "false": False, "True": True, "False": False,
}  # fmt: skip
_IS_DELETED = {**_SAID, None: False, "": False}
_IS_LATEST = {**_SAID, None: True, "": True}


def is_inventory(source: str) -> bool:
    """Return whether a source is an S3 Inventory's manifest by its name."""
    key = source.partition("://")[2].partition("/")[2]
    return scheme_of(source) == "s3" and key.rpartition("/")[2] == MANIFEST


def check_inventory(source: str, settings: Settings, *, versions: bool = False) -> None:
    """Refuse an inventory that cannot be read, or that has no image.

    Raises:
        SourceError: the inventory is refused; the message says what to do.
    """
    entries = list_inventory(source, None, settings, versions=versions)
    if not any(isinstance(one, ListedImage) for one in entries):
        raise SourceError(
            f"inventory {shown(source)} names no image; check which bucket and prefix it is of"
        )


def list_inventory(
    source: str,
    cursor: str | None,
    settings: Settings,
    *,
    versions: bool = False,
    names: NameRule = ANY_NAME,
) -> Iterator[Entry]:
    """List the current objects of an inventory, or with `versions` each version.

    Keys count as for `list_prefix`; delete markers are excluded. A cursor is the manifest's digest,
    a file number and a row number. An invalid row is listed as an unreadable image. Each file is
    spooled to disk, with one piece in memory.

    Raises:
        SourceError: reading fails, or the manifest changed since the listing began; entries listed
            before stay valid.
    """
    inventory = read_inventory(source, settings)
    _check_use(inventory, source, settings, versions=versions)
    first, after = _place_of(cursor, inventory, source)
    reader = _RowReader(inventory, settings, names, versions=versions)
    for number, file in enumerate(inventory.files[first:], start=first):
        with opened_file(file, settings) as stream:
            rows = read_rows(
                stream, inventory.written_as, inventory.columns, after, shown(file.uri)
            )
            for row_number, row in enumerate(rows, start=after + 1):
                if row_number % _ROWS_OF_PROGRESS == 0:
                    progressed()
                place = f"{inventory.digest}:{number}:{row_number}"
                try:
                    entry = reader.entry_of(row, place)
                except InvalidUri as fault:
                    entry = _unreadable(row, fault, file.uri, row_number, place)
                yield entry
        after = 0


class _RowReader:
    """Converts rows of one inventory into entries."""

    def __init__(
        self, inventory: Inventory, settings: Settings, names: NameRule, *, versions: bool
    ) -> None:
        self._bucket = inventory.bucket
        self._are_encoded = inventory.written_as is InventoryFormat.CSV
        self._versions = versions
        self._settings = settings
        self._names = names

    def entry_of(self, row: Row | BrokenRow, cursor: str) -> Entry:
        """Return the image or excluded entry of a row.

        Raises:
            InvalidUri: the row is invalid, or its object cannot be stored or may not be read.
        """
        if isinstance(row, BrokenRow):
            raise InvalidUri(row.reason)
        bucket, key, version, is_latest, is_deleted, size, modified_at, etag = row
        try:
            if _IS_DELETED[is_deleted]:
                return LeftOut(cursor, LeftOutReason.DELETE_MARKER)
            if not (self._versions or _IS_LATEST[is_latest]):
                return LeftOut(cursor, LeftOutReason.FORMER_VERSION)
        except KeyError:
            raise InvalidUri("its IsLatest or IsDeleteMarker is neither true nor false") from None
        key = self._decoded(key)
        if (reason := self._names.refusal_of(key)) is not None:
            return LeftOut(cursor, reason)
        # An empty cell is the version `null`, stored while versioning was off.
        wanted = (version or "null") if self._versions else None
        holder = bucket if bucket == self._bucket else self._admitted(bucket)
        uri = from_s3(holder, key, wanted)
        return ListedImage(uri, cursor, size_of(size), etag_of(etag), moment_of(modified_at))

    def _decoded(self, key: str | None) -> str:
        if not key:
            raise InvalidUri("it has no key")
        if not self._are_encoded or ("%" not in key and "+" not in key):
            return key
        if _NO_ESCAPE.search(key):
            raise InvalidUri("its key is not URL-encoded")
        try:
            return unquote_plus(key, errors="strict")
        except UnicodeDecodeError as error:
            raise InvalidUri("its key is no valid Unicode") from error

    def _admitted(self, bucket: str | None) -> str:
        if bucket and not admits_bucket(bucket, self._settings):
            raise InvalidUri(f"bucket {bucket!r} is refused (FAKESWEEP_BUCKETS)")
        return bucket or self._bucket


def _check_use(inventory: Inventory, source: str, settings: Settings, *, versions: bool) -> None:
    if not admits_bucket(inventory.bucket, settings):
        raise SourceError(
            f"inventory {shown(source)} is of bucket {one_line(inventory.bucket)!r}, which is "
            f"refused; FAKESWEEP_BUCKETS names those that may be read"
        )
    if versions and not inventory.has_versions:
        raise SourceError(
            f"inventory {shown(source)} names no versions; have S3 include all versions in it, or "
            f"scan the current ones alone"
        )


def _place_of(cursor: str | None, inventory: Inventory, source: str) -> tuple[int, int]:
    """Return the file, counted from 0, and the row behind which a listing resumes."""
    if cursor is None:
        return 0, 0
    digest, _, place = cursor.partition(":")
    if digest != inventory.digest:
        raise SourceError(
            f"inventory {shown(source)} is not the one whose listing began: its manifest was "
            f"written anew; scan it from the start"
        )
    file, _, row = place.partition(":")
    return int(file), int(row)


def _unreadable(
    row: Row | BrokenRow, fault: InvalidUri, uri: str, number: int, cursor: str
) -> ListedImage:
    key = "" if isinstance(row, BrokenRow) else row[1] or ""
    reason = f"row {number} of {shown(uri)}: {one_line(str(fault))}: {one_line(key, 120)}"
    return ListedImage(f"{uri}#row-{number}", cursor, unreadable=reason.removesuffix(": "))
