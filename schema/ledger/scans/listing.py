"""Listing: statements that record pages of listed images as batches."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import Connection, text

from fakesweep.schema.ledger.copy import copy_lines, copy_rows, lines_of
from fakesweep.schema.ledger.scans.audit_digests import (
    AuditView,
    DigestRun,
    digests_of,
    note,
    one_run,
    see_again,
)
from fakesweep.schema.ledger.scans.audits import Seen, compared, see, vanish
from fakesweep.schema.ledger.scans.listing_counts import ListingCounts, count_listed
from fakesweep.schema.ledger.scans.listing_errors import END_TROUBLE, end_trouble
from fakesweep.schema.ledger.scans.scans import ListedImage
from fakesweep.schema.ledger.scans.source_parts import Part
from fakesweep.schema.reasons import reason
from fakesweep.schema.words import LeftOutReason

MAX_BATCH_URI_BYTES = 128 * 1024
"""Most bytes of a batch's URIs in JSON; it bounds the window's memory in Redis."""

_END_LISTING = text("""
    UPDATE ledger.scans SET listed_at = now()
    WHERE scan_id = :scan_id AND listed_at IS NULL RETURNING is_audit
""")

_LOOK = text("""
    SELECT s.scan_id, s.is_audit, s.policy_id, cardinality(s.model_keys) AS models, ARRAY(
        SELECT m.model_id FROM ledger.models m
        WHERE m.key = ANY(s.model_keys) AND m.superseded_at IS NULL
    ) AS model_ids
    FROM ledger.scans s
    WHERE scan_id = :scan_id AND NOT ledger.is_held(paused_at, cancelled_at) FOR SHARE
""")

_ADD_BATCHES = text("""
    INSERT INTO ledger.batches (scan_id, lane, image_count)
    SELECT s.scan_id, s.lane, 0 FROM ledger.scans s CROSS JOIN generate_series(1, :batches)
    WHERE s.scan_id = :scan_id RETURNING batch_id
""")

_CREATE_STAGES = """
    CREATE TEMPORARY TABLE IF NOT EXISTS stage_sighted (run integer, image_id bigint)
        ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE IF NOT EXISTS stage_listed (
        place integer, run integer, uri text COLLATE "C", size_bytes bigint, etag text,
        modified_at timestamptz, unreadable text, code ledger.failure_code
    ) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE IF NOT EXISTS stage_taken (
        place integer, batch_id bigint, change ledger.change, content_id bigint
    ) ON COMMIT DELETE ROWS;
    DELETE FROM stage_sighted; DELETE FROM stage_listed; DELETE FROM stage_taken
"""

# An image that the scan has already is skipped.
_ADD_IMAGES = text("""
    WITH added AS (
        INSERT INTO ledger.images
            (scan_id, batch_id, uri, size_bytes, etag, modified_at, change, known_content_id)
        SELECT :scan_id, t.batch_id, l.uri, l.size_bytes, l.etag, l.modified_at, t.change,
               t.content_id FROM stage_taken t JOIN stage_listed l USING (place)
        ORDER BY t.batch_id, place
        ON CONFLICT DO NOTHING RETURNING image_id, batch_id, uri, change
    ), failed AS (
        INSERT INTO ledger.outcomes (image_id, scan_id, failure_code, failure_message)
        SELECT a.image_id, :scan_id, l.code, l.unreadable
        FROM added a JOIN stage_listed l USING (uri)
        WHERE l.unreadable IS NOT NULL
        RETURNING image_id
    ), seen AS (
        INSERT INTO stage_sighted
        SELECT l.run, a.image_id FROM added a JOIN stage_listed l USING (uri) WHERE :is_audit
    ), counted AS (
        SELECT a.batch_id, count(*) AS images, count(f.image_id) AS failed
        FROM added a LEFT JOIN failed f USING (image_id) GROUP BY a.batch_id
    ), closed AS (
        UPDATE ledger.batches b
        SET image_count = c.images, failed_count = c.failed,
            state = CASE WHEN c.images = c.failed THEN 'done'
                         WHEN b.batch_id = ANY(:following) THEN 'following'
                         ELSE 'recorded' END::ledger.batch_state,
            finished_at = CASE WHEN c.images = c.failed THEN now() END
        FROM counted c WHERE b.batch_id = c.batch_id
    )
    SELECT count(*) AS images, count(*) FILTER (WHERE change = 'new') AS new,
           count(*) FILTER (WHERE change = 'changed') AS changed,
           count(*) FILTER (WHERE change = 'again') AS again,
           array_agg(DISTINCT batch_id) AS batches
    FROM added
""")

_DROP_BATCHES = text("SELECT ledger.drop_empty_batches(:batch_ids)")

_MOVE_CURSOR = text(f"""
    WITH well AS ({END_TROUBLE})
    UPDATE ledger.source_parts
    SET cursor = :cursor, unchanged_count = unchanged_count + :unchanged,
        new_count = new_count + :new, changed_count = changed_count + :changed,
        again_count = again_count + :again
    WHERE (scan_id, position, part) = (:scan_id, :position, :part)
""")  # noqa: S608 - our own words


class Page(NamedTuple):
    """Images listed together, and the cursor behind them.

    `counts` are of other entries listed beside them. `digests_of` and `staged` can compute `runs`
    and `lines` beforehand.
    """

    images: Sequence[ListedImage]
    cursor: str
    runs: Sequence[DigestRun] | None = None
    lines: bytes | None = None
    counts: Mapping[ListingCounts, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Recorded:
    """The images of a page that are new to the scan, and those that stand unchanged.

    `known` counts the unchanged images of whole runs.
    """

    added: int = 0
    unchanged: int = 0
    known: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class _Taken:
    """The images of one batch; with `follows` it waits for the others of its scan."""

    images: Sequence[Seen]
    follows: bool = False


class _Counts(NamedTuple):
    images: int = 0
    new: int = 0
    changed: int = 0
    again: int = 0


def record_page(
    connection: Connection,
    scan_id: int,
    part: Part,
    page: Page,
    batch_images: int,
    *,
    failures_stand_days: float = 0.0,
) -> Recorded | None:
    """Record listed images in batches, and move their part's cursor behind them.

    Skips images that the scan has already; an audit also skips images that stand: judged as they
    are, or failed about their bytes in the last `failures_stand_days`. Returns None, with nothing
    written, where the scan is paused or cancelled; a pause or cancel waits until this transaction
    ends.
    """
    row = connection.execute(_LOOK, {"scan_id": scan_id}).one_or_none()
    if row is None:
        return None
    view = AuditView(scan_id, row.policy_id, tuple(row.model_ids), row.models, failures_stand_days)
    runs = page.runs
    if runs is None:
        runs = digests_of(page.images) if row.is_audit else one_run(page.images)
    known = see_again(connection, view, runs) if row.is_audit else set()
    left = [run for run in runs if run.digest not in known]
    looked_at, counts = 0, _Counts()
    if left:
        page = page if not known else page._replace(lines=None)
        looked_at, counts = _record_runs(
            connection, view, page, left, batch_images, is_audit=row.is_audit
        )
    unchanged = len(page.images) - looked_at
    moved = {
        "scan_id": scan_id,
        "position": part.position,
        "part": part.number,
        "cursor": page.cursor,
        "unchanged": unchanged,
        "new": counts.new,
        "changed": counts.changed,
        "again": counts.again,
    }
    connection.execute(_MOVE_CURSOR, moved)
    repeated = {ListingCounts("left_out", LeftOutReason.REPEATED): looked_at - counts.images}
    count_listed(connection, scan_id, dict(page.counts) | repeated)
    return Recorded(counts.images, unchanged, _images_of(runs) - _images_of(left))


def _record_runs(
    connection: Connection,
    view: AuditView,
    page: Page,
    runs: Sequence[DigestRun],
    batch_images: int,
    *,
    is_audit: bool,
) -> tuple[int, _Counts]:
    """Record the images of some runs that do not stand; return how many, and their counts."""
    connection.exec_driver_sql(_CREATE_STAGES)
    lines = staged(page.images, runs) if page.lines is None else page.lines
    copy_lines(connection, "stage_listed", lines)
    seen = compared(connection, view, page.images) if is_audit else see(page.images)
    counts = _record(connection, view.scan_id, _batched(seen, batch_images), is_audit=is_audit)
    if is_audit:
        note(connection, view.scan_id, runs)
    return len(seen), counts


def staged(images: Sequence[ListedImage], runs: Sequence[DigestRun]) -> bytes:
    """Return the images of some runs of a page in COPY's format."""
    return lines_of(
        (
            place,
            number,
            image.uri,
            image.size_bytes,
            image.etag,
            image.modified_at,
            None if image.unreadable is None else reason(image.unreadable),
            None if image.unreadable is None else image.code,
        )
        for number, run in enumerate(runs)
        for place, image in enumerate(images[run.first : run.end], start=run.first)
    )


def end_listing(connection: Connection, scan_id: int) -> None:
    """Record that a scan's listing is complete, and the images that an audit missed."""
    end_trouble(connection, scan_id)
    if connection.execute(_END_LISTING, {"scan_id": scan_id}).scalar_one_or_none():
        vanish(connection, scan_id)


def _images_of(runs: Sequence[DigestRun]) -> int:
    return sum(run.end - run.first for run in runs)


def _record(
    connection: Connection, scan_id: int, batches: Sequence[_Taken], *, is_audit: bool
) -> _Counts:
    if not batches:
        return _Counts()
    wanted = {"scan_id": scan_id, "batches": len(batches)}
    batch_ids = list(connection.execute(_ADD_BATCHES, wanted).scalars())
    copy_rows(
        connection,
        "stage_taken",
        (
            (seen.place, batch_id, seen.change, seen.content_id)
            for batch_id, batch in zip(batch_ids, batches, strict=True)
            for seen in batch.images
        ),
    )
    added = connection.execute(
        _ADD_IMAGES,
        {
            "scan_id": scan_id,
            "is_audit": is_audit,
            "following": [
                batch_id
                for batch_id, batch in zip(batch_ids, batches, strict=True)
                if batch.follows
            ],
        },
    ).one()
    if unused := set(batch_ids) - set(added.batches or ()):
        connection.execute(_DROP_BATCHES, {"batch_ids": sorted(unused)})
    return _Counts(added.images, added.new, added.changed, added.again)


def _batched(seen: Sequence[Seen], batch_images: int) -> list[_Taken]:
    """Split images into batches; following images get batches of their own."""
    leading = [one for one in seen if not one.follows]
    following = [one for one in seen if one.follows]
    return [_Taken(images) for images in _cut(leading, batch_images)] + [
        _Taken(images, follows=True) for images in _cut(following, batch_images)
    ]


def _cut(seen: Sequence[Seen], batch_images: int) -> Iterator[Sequence[Seen]]:
    start = 0
    while start < len(seen):
        size = batch_images
        while size > 1 and _uri_bytes(seen[start : start + size]) > MAX_BATCH_URI_BYTES:
            size //= 2
        yield seen[start : start + size]
        start += size


def _uri_bytes(seen: Sequence[Seen]) -> int:
    return len(json.dumps([one.image.uri for one in seen]))
