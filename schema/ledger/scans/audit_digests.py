"""Digest runs: neighbouring images of a listing that an audit recognises by one digest.

A run ends behind a URI whose checksum says so. Additions, deletions and page limits change only the
runs around them.
"""

import zlib
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from sqlalchemy import Connection, text

from fakesweep.schema.ledger.scans.scans import Entry, ListedImage

RUN_IMAGES = 128
"""Average number of images in a run."""

_DIGEST_BYTES = 16

# A run stands where the newest page that saw it does: no image of it changed, and each
# has a verdict by every current model and this policy. This statement makes retention wait until
# the audit's transaction ends.
_SEE_AGAIN = text("""
    WITH standing AS MATERIALIZED (
        SELECT asked.digest, seen.image_ids
        FROM unnest(CAST(:digests AS bytea[])) AS asked (digest) CROSS JOIN LATERAL (
            SELECT image_ids FROM ledger.sightings s
            WHERE s.digest = asked.digest ORDER BY s.sighting_id DESC LIMIT 1
        ) AS seen
        WHERE cardinality(seen.image_ids) * :models = (
            SELECT count(*) FROM ledger.verdicts v
            WHERE v.image_id = ANY(seen.image_ids) AND v.policy_id = :policy_id
              AND v.model_id = ANY(:model_ids)
        )
    ), noted AS (
        INSERT INTO ledger.sightings (scan_id, image_ids, digest)
        SELECT :scan_id, image_ids, digest FROM standing
    )
    SELECT digest FROM standing
""")

# A run with an image that is not accounted for has no digest.
_NOTE = text("""
    INSERT INTO ledger.sightings (scan_id, image_ids, digest)
    SELECT :scan_id, array_agg(DISTINCT image_id), CASE
        WHEN count(*) = (CAST(:sizes AS integer[]))[run + 1]
        THEN nullif((CAST(:digests AS bytea[]))[run + 1], '') END
    FROM stage_sighted GROUP BY run
""")


class AuditView(NamedTuple):
    """The policy and current model revisions by which an audit compares.

    `models` is the number of its models; `model_ids` has fewer where no worker has loaded one.
    Failures about bytes stand for `failures_stand_days`.
    """

    scan_id: int
    policy_id: int
    model_ids: tuple[int, ...]
    models: int
    failures_stand_days: float = 0.0

    @property
    def is_loaded(self) -> bool:
        """Whether workers have loaded every model, without which nothing stands."""
        return len(self.model_ids) == self.models


class DigestRun(NamedTuple):
    """The images of a page from one index to another, and the digest of their listing.

    The digest is empty where an image's facts do not identify it.
    """

    first: int
    end: int
    digest: bytes


def ends_run(uri: str) -> bool:
    """Return whether a run ends behind this URI."""
    return zlib.crc32(uri.encode()) % RUN_IMAGES == 0


def digests_of(images: Sequence[ListedImage]) -> list[DigestRun]:
    """Split the images of a page into runs; one with an image of unknown size has no digest."""
    runs: list[DigestRun] = []
    said: list[str] = []
    is_vague = False
    for place, (uri, _, size_bytes, etag, modified_at, *_) in enumerate(images, start=1):
        is_vague = is_vague or size_bytes is None
        when = modified_at and modified_at.timestamp()
        said.append(f"{uri}\t{size_bytes}\t{etag}\t{when}")
        if place == len(images) or ends_run(uri):
            digest = b"" if is_vague else _digest("\n".join(said))
            runs.append(DigestRun(place - len(said), place, digest))
            said.clear()
            is_vague = False
    return runs


def one_run(images: Sequence[ListedImage]) -> list[DigestRun]:
    """Return all images of a page as one run without a digest."""
    return [DigestRun(0, len(images), b"")]


def whole_runs(entries: Sequence[Entry]) -> int:
    """Return the length of the whole runs among the first entries, 0 where no run ends."""
    for place in range(len(entries), 0, -1):
        if ends_run(entries[place - 1].uri):
            return place
    return 0


def see_again(connection: Connection, view: AuditView, runs: Sequence[DigestRun]) -> set[bytes]:
    """Record sightings of the runs that stand; return their digests."""
    digests = [run.digest for run in runs if run.digest]
    if not (view.is_loaded and digests):
        return set()
    wanted = view._asdict() | {
        "model_ids": list(view.model_ids),
        "digests": digests,
    }
    return {bytes(digest) for digest in connection.execute(_SEE_AGAIN, wanted).scalars()}


def note(connection: Connection, scan_id: int, runs: Sequence[DigestRun]) -> None:
    """Record sightings of the images in the temporary table `stage_sighted`, by run."""
    wanted = {
        "scan_id": scan_id,
        "sizes": [run.end - run.first for run in runs],
        "digests": [run.digest for run in runs],
    }
    connection.execute(_NOTE, wanted)


def _digest(said: str) -> bytes:
    return blake2b(said.encode(), digest_size=_DIGEST_BYTES).digest()
