"""Audits: statements that compare a listing with earlier verdicts, and find vanished images."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.scans.audit_digests import AuditView
from fakesweep.schema.ledger.scans.scans import ListedImage
from fakesweep.schema.words import Change

# An image stands where its newest row has the same facts and a verdict by every current
# model and this policy, or a recent failure about its bytes. The LATERAL look-up of one URI
# always uses the index, whatever the planner estimates of the temporary
# table.
_COMPARE = text("""
    WITH seen AS MATERIALIZED (
        SELECT l.place, l.run, k.image_id, k.is_same, k.is_same AND (:is_loaded AND (
            SELECT count(*) FROM ledger.verdicts v
            WHERE v.image_id = k.image_id AND v.policy_id = :policy_id
              AND v.model_id = ANY(:model_ids)
        ) = :models OR :failures_stand_days > 0 AND EXISTS (
            SELECT FROM ledger.outcomes x
            WHERE x.image_id = k.image_id AND x.status = 'failed'
              AND x.failure_code::text = ANY(:about_bytes)
              AND x.finished_at > now() - make_interval(secs => 86400 * :failures_stand_days)
        )) AS stands
        FROM stage_listed l LEFT JOIN LATERAL (
            SELECT i.image_id,
                   (i.size_bytes, i.etag, i.modified_at)
                   IS NOT DISTINCT FROM (l.size_bytes, l.etag, l.modified_at) AS is_same
            FROM (
                (SELECT * FROM ledger.images
                 WHERE uri = l.uri AND scan_id < :scan_id AND size_bytes IS NOT NULL
                   AND octet_length(uri) <= 2048 AND octet_length(l.uri) <= 2048
                 ORDER BY scan_id DESC, occurrence DESC LIMIT 1)
                UNION ALL
                (SELECT * FROM ledger.images
                 WHERE ledger.digest_of(uri) = ledger.digest_of(l.uri) AND scan_id < :scan_id
                   AND size_bytes IS NOT NULL
                   AND octet_length(uri) > 2048 AND octet_length(l.uri) > 2048
                 ORDER BY scan_id DESC, occurrence DESC LIMIT 1)
            ) AS i
        ) AS k ON true
    ), standing AS (
        INSERT INTO stage_sighted SELECT run, image_id FROM seen WHERE stands
    )
    SELECT s.place, s.image_id IS NOT NULL AS is_known, s.is_same, o.content_id
    FROM seen s LEFT JOIN ledger.outcomes o ON s.is_same AND o.image_id = s.image_id
    WHERE s.stands IS NOT TRUE ORDER BY s.place
""")

# Only the first image of a content is fetched; the others follow it.
_LED = text("""
    SELECT DISTINCT known_content_id FROM ledger.images
    WHERE scan_id = :scan_id AND known_content_id = ANY(:content_ids)
""")

_SCORED = text("""
    SELECT content_id FROM ledger.predictions
    WHERE content_id = ANY(:content_ids) AND model_id = ANY(:model_ids)
    GROUP BY content_id HAVING count(*) = :models
""")

COMPLETE_AUDITS = """
    SELECT scan_id, archive FROM ledger.scans
    WHERE is_audit AND archive IS NOT NULL AND listed_at IS NOT NULL AND cancelled_at IS NULL
"""
"""The audits that a later one of the same archive compares with."""

_FORMER = text(f"""
    SELECT max(b.scan_id)
    FROM ledger.scans a JOIN ({COMPLETE_AUDITS}) AS b USING (archive)
    WHERE a.scan_id = :scan_id AND b.scan_id < a.scan_id
""")  # noqa: S608 - our own words

_VANISH = text("""
    WITH here AS (
        SELECT unnest(image_ids) AS image_id FROM ledger.sightings WHERE scan_id = :scan_id
    ), before AS (
        SELECT unnest(image_ids) AS image_id FROM ledger.sightings WHERE scan_id = :former
    ), left_over AS (
        SELECT image_id FROM before EXCEPT SELECT image_id FROM here
    )
    INSERT INTO ledger.vanished (scan_id, image_id)
    SELECT :scan_id, i.image_id
    FROM left_over JOIN ledger.images i USING (image_id)
    WHERE NOT EXISTS (
        SELECT FROM ledger.images n WHERE n.uri = i.uri AND n.scan_id = :scan_id
    )
""")

_COUNT_VANISHED = text("""
    UPDATE ledger.scans SET vanished_count = :vanished WHERE scan_id = :scan_id
""")

# Following images wait until all others of the scan have ended.
_LET_FOLLOW = text("""
    WITH ready AS MATERIALIZED (
        SELECT s.scan_id FROM ledger.scans s
        WHERE s.scan_id IN (SELECT scan_id FROM ledger.batches WHERE state = 'following')
          AND s.listed_at IS NOT NULL AND NOT ledger.is_held(s.paused_at, s.cancelled_at)
          AND NOT EXISTS (
              SELECT FROM ledger.batches x WHERE x.scan_id = s.scan_id
                AND x.state IN ('recorded', 'published', 'running', 'held', 'set_aside')
          )
    )
    UPDATE ledger.batches b SET state = 'recorded'
    FROM ready r WHERE b.scan_id = r.scan_id AND b.state = 'following'
""")


class Seen(NamedTuple):
    """A listed image that does not stand, its index in the page, and its change.

    `content_id` is its content where known. With `follows`, it waits for another image of the scan
    with the same content.
    """

    place: int
    image: ListedImage
    change: Change | None = None
    content_id: int | None = None
    follows: bool = False


def see(images: Sequence[ListedImage]) -> list[Seen]:
    """Return the images of a scan that compares nothing."""
    return [Seen(place, image) for place, image in enumerate(images)]


def compared(connection: Connection, view: AuditView, images: Sequence[ListedImage]) -> list[Seen]:
    """Return the images of the temporary table `stage_listed` that do not stand.

    The others are in `stage_sighted` then. `images` are all of the page.
    """
    rows = connection.execute(
        _COMPARE,
        {
            "scan_id": view.scan_id,
            "policy_id": view.policy_id,
            "model_ids": list(view.model_ids),
            "models": view.models,
            "is_loaded": view.is_loaded,
            "failures_stand_days": view.failures_stand_days,
            "about_bytes": [code.value for code in FailureCode if code.is_about_bytes],
        },
    ).all()
    known = {row.content_id for row in rows if row.content_id is not None}
    led = _led(connection, view, known) if known else _Led(set(), frozenset())
    return [_seen(row, images[row.place], led) for row in rows]


def vanish(connection: Connection, scan_id: int) -> None:
    """Record the images that the audit before saw and this one did not."""
    former = connection.execute(_FORMER, {"scan_id": scan_id}).scalar_one()
    if former is None:
        return
    vanished = connection.execute(_VANISH, {"scan_id": scan_id, "former": former}).rowcount
    connection.execute(_COUNT_VANISHED, {"scan_id": scan_id, "vanished": vanished})


def let_follow(connection: Connection) -> int:
    """Release following batches, once nothing else of their scans is left."""
    return connection.execute(_LET_FOLLOW).rowcount


class _Led(NamedTuple):
    """Contents that an image of the scan is fetched for, and contents that need no fetching."""

    fetched: set[int]
    scored: frozenset[int]


def _led(connection: Connection, view: AuditView, content_ids: set[int]) -> _Led:
    wanted = sorted(content_ids)
    fetched = connection.execute(_LED, {"scan_id": view.scan_id, "content_ids": wanted}).scalars()
    scored: frozenset[int] = frozenset()
    if view.is_loaded:
        rows = connection.execute(
            _SCORED,
            {
                "content_ids": wanted,
                "model_ids": list(view.model_ids),
                "models": view.models,
            },
        )
        scored = frozenset(rows.scalars())
    return _Led(set(fetched), scored)


def _seen(row: Row[Any], image: ListedImage, led: _Led) -> Seen:
    if not row.is_known:
        return Seen(row.place, image, Change.NEW)
    if not row.is_same:
        return Seen(row.place, image, Change.CHANGED)
    if row.content_id is None:
        return Seen(row.place, image, Change.AGAIN)
    follows = row.content_id in led.fetched and row.content_id not in led.scored
    led.fetched.add(row.content_id)
    return Seen(row.place, image, Change.AGAIN, row.content_id, follows)
