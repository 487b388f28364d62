"""Uploads: their streams, scans and submissions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from fakesweep.schema.reasons import storable
from fakesweep.schema.words import Lane

_OPEN_SCAN = text("""
    SELECT ledger.open_stream(:stream, CAST(:lane AS ledger.lane), :policy, :model_keys)
""")

_CLOSE_PAST_DAYS = text("""
    UPDATE ledger.scans SET listed_at = now()
    WHERE stream IS NOT NULL AND listed_at IS NULL AND cancelled_at IS NULL
      AND created_at < date_trunc('day', now(), 'UTC')
    RETURNING scan_id
""")

_END_SOURCES = text("""
    UPDATE ledger.scan_sources SET listed_at = now()
    WHERE scan_id = ANY(:scan_ids) AND listed_at IS NULL
""")

# An aggregate: ordering by `image_id` would tempt the planner into reading all images.
_KNOWN = text("""
    SELECT new.uri, new.occurrence, found.image_id
    FROM unnest(CAST(:uris AS text[]), CAST(:occurrences AS text[])) AS new (uri, occurrence)
    CROSS JOIN LATERAL (
        SELECT min(i.image_id) AS image_id
        FROM (
            SELECT image_id, scan_id FROM ledger.images
            WHERE uri = new.uri AND occurrence = new.occurrence
              AND octet_length(uri) <= 2048 AND octet_length(new.uri) <= 2048
            UNION ALL
            SELECT image_id, scan_id FROM ledger.images
            WHERE ledger.digest_of(uri) = ledger.digest_of(new.uri)
              AND occurrence = new.occurrence
              AND octet_length(uri) > 2048 AND octet_length(new.uri) > 2048
        ) AS i JOIN ledger.scans s USING (scan_id)
        WHERE s.stream = :stream AND s.lane = CAST(:lane AS ledger.lane)
          AND s.stream_policy = :policy AND s.model_keys = :model_keys
    ) AS found
    WHERE found.image_id IS NOT NULL
""")

_ADD_UPLOADS = text("""
    SELECT image_id, uri, occurrence FROM ledger.add_uploads(
        :scan_id, CAST(:uris AS text[]), CAST(:occurrences AS text[]), CAST(:sizes AS bigint[]),
        CAST(:etags AS text[]), CAST(:times AS timestamptz[])
    )
""")

_LOCK_KEYS = text("""
    SELECT count(pg_advisory_xact_lock(hash)) FROM (
        SELECT DISTINCT hashtextextended('fakesweep submission ' || key, 0) AS hash
        FROM unnest(CAST(:keys AS text[])) AS asked (key) ORDER BY hash
    ) AS sorted
""")

_SUBMISSIONS = text("""
    SELECT key, digest, occurrence, scan_id, image_ids FROM ledger.submissions
    WHERE key = ANY(CAST(:keys AS text[]))
""")

_ADD_SUBMISSION = text("""
    INSERT INTO ledger.submissions (key, digest, occurrence, scan_id, image_ids)
    VALUES (:key, :digest, :occurrence, :scan_id, :image_ids)
""")


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded image; unknown facts are None.

    `occurrence` distinguishes objects that lay at one URI at different times; where it is empty,
    each submission is a time of its own.
    """

    uri: str
    occurrence: str = ""
    size_bytes: int | None = None
    etag: str | None = None
    modified_at: datetime | None = None


class Stream(NamedTuple):
    """A source of uploads without an end, with its models and policy."""

    stream: str
    lane: Lane
    policy: str
    model_keys: tuple[str, ...]


class Sighting(NamedTuple):
    """One object at a URI at some time: one image of a stream."""

    uri: str
    occurrence: str


class KeptSubmission(NamedTuple):
    """The submission of a key: a digest of its request, and its answer."""

    key: str
    digest: bytes
    occurrence: str
    scan_id: int
    image_ids: Sequence[int]


def open_scan(connection: Connection, stream: Stream) -> int:
    """Return the open scan of a stream, locked against closing until the transaction ends.

    Opens a new one, and closes the former, where there is none, on a new day (UTC, by the
    database's clock) or after a new policy of the name.
    """
    return int(connection.execute(_OPEN_SCAN, _asked(stream)).scalar_one())


def close_past_days(connection: Connection) -> list[int]:
    """Close the scans that streams opened on earlier days, and return them."""
    closed = list(connection.execute(_CLOSE_PAST_DAYS).scalars())
    connection.execute(_END_SOURCES, {"scan_ids": closed})
    return closed


def known_images(
    connection: Connection, stream: Stream, sightings: Sequence[Sighting]
) -> dict[Sighting, int]:
    """Return the images that a stream has already, in any of its scans."""
    if not sightings:
        return {}
    rows = connection.execute(_KNOWN, _asked(stream) | _columns(sightings))
    return {Sighting(row.uri, row.occurrence): row.image_id for row in rows}


def record_uploads(
    connection: Connection, scan_id: int, uploads: Sequence[Upload]
) -> dict[Sighting, int]:
    """Record uploads to a stream's open scan as one batch, and return their images.

    Each is a sighting of its own. Those that the scan has already stay as they are. The batch is
    held while the scan is paused.
    """
    added = connection.execute(
        _ADD_UPLOADS,
        {
            "scan_id": scan_id,
            "sizes": [upload.size_bytes for upload in uploads],
            "etags": [upload.etag and storable(upload.etag) for upload in uploads],
            "times": [upload.modified_at for upload in uploads],
        }
        | _columns([Sighting(upload.uri, upload.occurrence) for upload in uploads]),
    )
    return {Sighting(row.uri, row.occurrence): int(row.image_id) for row in added}


def lock_keys(connection: Connection, keys: Sequence[str]) -> dict[str, KeptSubmission]:
    """Lock submission keys until the transaction ends, and return their answers."""
    if not keys:
        return {}
    connection.execute(_LOCK_KEYS, {"keys": keys})
    rows = connection.execute(_SUBMISSIONS, {"keys": keys})
    return {
        row.key: KeptSubmission(
            row.key, bytes(row.digest), row.occurrence, row.scan_id, row.image_ids
        )
        for row in rows
    }


def add_submission(connection: Connection, submission: KeptSubmission) -> None:
    """Record the answer to a submission key."""
    connection.execute(_ADD_SUBMISSION, submission._asdict())


def _asked(stream: Stream) -> dict[str, object]:
    return stream._asdict() | {"lane": stream.lane.value, "model_keys": list(stream.model_keys)}


def _columns(sightings: Sequence[Sighting]) -> dict[str, list[str]]:
    return {
        "uris": [sighting.uri for sighting in sightings],
        "occurrences": [sighting.occurrence for sighting in sightings],
    }
