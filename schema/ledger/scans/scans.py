"""Scans: statements that record them, their sources, and the listings that are due."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from fakesweep.schema.failures import FailureCode
from fakesweep.schema.reasons import storable
from fakesweep.schema.selection import Selection, selection_of
from fakesweep.schema.words import Lane, LeftOutReason

_ADD_SCAN = text("""
    INSERT INTO ledger.scans
        (name, lane, policy_id, model_keys, is_audit, selection, archive)
    VALUES (:name, CAST(:lane AS ledger.lane), :policy_id, :model_keys, :is_audit,
            CAST(:selection AS jsonb), :archive)
    RETURNING scan_id
""")

_ADD_SOURCE = text("""
    INSERT INTO ledger.scan_sources (scan_id, position, source, hostname, members)
    VALUES (:scan_id, :position, :source, :hostname, :members)
""")

_ADD_PARTS = text("""
    INSERT INTO ledger.source_parts (scan_id, position, part)
    SELECT scan_id, position, 0 FROM ledger.scan_sources WHERE scan_id = :scan_id
""")

_SOURCES_LEFT = text("""
    SELECT position, source, hostname FROM scan_sources
    WHERE scan_id = :scan_id AND listed_at IS NULL ORDER BY position
""")

_CHOSEN = text("""
    SELECT selection, created_at, is_audit FROM scan_progress WHERE scan_id = :scan_id
""")

_LISTINGS_DUE = text("""
    SELECT scan_id, lane::text AS lane
    FROM ledger.scans s LEFT JOIN ledger.listing_troubles t USING (scan_id)
    WHERE listed_at IS NULL AND NOT ledger.is_held(paused_at, cancelled_at)
      AND coalesce(t.try_at, now()) <= now() AND NOT EXISTS (
        SELECT FROM ledger.scan_sources x
        WHERE x.scan_id = s.scan_id AND x.listed_at IS NULL
          AND (x.hostname <> :hostname OR x.source = '-' OR x.source LIKE 'stream:%')
    ) ORDER BY lane <> 'live', t.since IS NOT NULL, scan_id
""")

_LOCK_LISTING = text("SELECT pg_try_advisory_lock(hashtext('fakesweep listing'), :scan_id)")
_UNLOCK_LISTING = text("SELECT pg_advisory_unlock(hashtext('fakesweep listing'), :scan_id)")


class NamedSource(NamedTuple):
    """A recorded source; `hostname` is the only machine that can list it, or None.

    `members` are the URIs of a source that was named one by one.
    """

    source: str
    hostname: str | None = None
    members: tuple[str, ...] = ()

    def as_row(self) -> dict[str, object]:
        """Return the source as a row for the statements."""
        return self._asdict() | {"members": list(self.members) or None}


@dataclass(frozen=True, slots=True)
class SourceLeft:
    """A source whose listing is not finished; `hostname` is the only machine that can list it."""

    position: int
    source: str
    hostname: str | None


class ListedImage(NamedTuple):
    """An image as its source lists it; unknown facts are None.

    `cursor` is the position of the listing behind this image. With `unreadable`, `uri` only names
    the place, such as a manifest's line, and the image is recorded as failed with that reason and
    `code`.
    """

    uri: str
    cursor: str
    size_bytes: int | None = None
    etag: str | None = None
    modified_at: datetime | None = None
    unreadable: str | None = None
    code: FailureCode = FailureCode.INVALID_URI


class LeftOut(NamedTuple):
    """An entry of a source that is no image; the listing continues behind its `cursor`."""

    cursor: str
    reason: LeftOutReason

    @property
    def uri(self) -> str:
        """The text by which runs of a listing are split."""
        return self.cursor


Entry = ListedImage | LeftOut
"""One entry of a listing."""


class ListingDue(NamedTuple):
    """A scan whose listing is due."""

    scan_id: int
    lane: Lane


class Chosen(NamedTuple):
    """The selection of a scan, and whether it is an audit."""

    selection: Selection
    asked_at: datetime
    is_audit: bool


def add_scan(
    connection: Connection,
    *,
    name: str | None,
    lane: Lane,
    policy_id: int,
    model_keys: Sequence[str],
    sources: Sequence[NamedSource | tuple[str, str | None]],
    is_audit: bool = False,
    selection: Selection = Selection(),  # noqa: B008 - frozen
) -> int:
    """Record a scan and its sources, each with the only host that can list it, or None."""
    scan_id = int(
        connection.execute(
            _ADD_SCAN,
            {
                "name": None if name is None else storable(name),
                "lane": lane.value,
                "policy_id": policy_id,
                "model_keys": list(model_keys),
                "is_audit": is_audit,
                "selection": json.dumps(selection.as_json()),
                "archive": _archive(sources, selection) if is_audit else None,
            },
        ).scalar_one()
    )
    connection.execute(
        _ADD_SOURCE,
        [
            {"scan_id": scan_id, "position": position} | NamedSource(*source).as_row()
            for position, source in enumerate(sources)
        ],
    )
    connection.execute(_ADD_PARTS, {"scan_id": scan_id})
    return scan_id


def sources_left(connection: Connection, scan_id: int) -> list[SourceLeft]:
    """Return the sources whose listing is not finished, in order."""
    rows = connection.execute(_SOURCES_LEFT, {"scan_id": scan_id})
    return [SourceLeft(row.position, row.source, row.hostname) for row in rows]


def chosen(connection: Connection, scan_id: int) -> Chosen:
    """Return the selection of a scan."""
    row = connection.execute(_CHOSEN, {"scan_id": scan_id}).one()
    return Chosen(selection_of(row.selection), row.created_at, row.is_audit)


def scans_to_list(connection: Connection, hostname: str) -> list[int]:
    """Return the scan numbers of `listings_due`."""
    return [due.scan_id for due in listings_due(connection, hostname)]


def listings_due(connection: Connection, hostname: str) -> list[ListingDue]:
    """Return the scans whose listing this host could continue now.

    The order is live scans, then those without an error, then the oldest. Standard input is
    excluded, as only the person at the pipe can continue it. So are streams, whose images arrive as
    uploads.
    """
    rows = connection.execute(_LISTINGS_DUE, {"hostname": hostname})
    return [ListingDue(row.scan_id, Lane(row.lane)) for row in rows]


def lock_listing(connection: Connection, scan_id: int) -> bool:
    """Try to lock a scan's listing for this process alone, until unlocked or disconnected."""
    return bool(connection.execute(_LOCK_LISTING, {"scan_id": scan_id}).scalar_one())


def unlock_listing(connection: Connection, scan_id: int) -> None:
    """Unlock a scan's listing."""
    connection.execute(_UNLOCK_LISTING, {"scan_id": scan_id})


def _archive(
    sources: Sequence[NamedSource | tuple[str, str | None]], selection: Selection
) -> str | None:
    """Return the archive key of sources and selection, None for a selection by age."""
    if not selection.forms_archive:
        return None
    named = [NamedSource(*source) for source in sources]
    plain = [one if one.members else (one.source, one.hostname) for one in named]
    said = json.dumps([sorted(map(tuple, plain), key=str), selection.as_json()])
    return hashlib.sha256(said.encode()).hexdigest()
