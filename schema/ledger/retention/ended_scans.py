"""Retention: deletes scans that ended long ago, and their images.

One transaction deletes an image with its verdicts, its outcome and its share of its batch's counts,
so the counts of a half-deleted scan add up. Images that a later audit saw unchanged stay, with
their scan. No foreign key refers to images or contents: these statements clean up deliveries,
submissions and audits. Outputs are deleted with their scan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.ledger.scans.audits import COMPLETE_AUDITS
from fakesweep.schema.words import ScanState

STEP_IMAGES = 5_000
"""Images that one transaction deletes, plus at most a batch."""

_MAY = text("""
    SELECT bool_and(has_table_privilege(oid, 'DELETE')) FROM pg_class
    WHERE relnamespace = 'ledger'::regnamespace AND relkind = 'r'
""")

_LOCK = text("SELECT pg_try_advisory_lock(hashtext('fakesweep prune'))")

_CLOCK = text("SELECT now()")

_NEWEST_AUDITS = f"""
    SELECT max(scan_id) FROM ({COMPLETE_AUDITS}) AS complete GROUP BY archive
"""  # noqa: S608 - our own words

# An output that has been failing since before that moment does not hold its scan.
_OUTPUT_IS_OPEN = """
    SELECT FROM ledger.outputs o
    WHERE o.scan_id = {scan_id} AND o.ended_at IS NULL
      AND coalesce(o.troubled_since, now()) >= :before
"""

# Batches in work when a scan was cancelled are stored later.
_IS_OVER = """
    p.has_ended AND p.finished_at < :before AND p.progressed_at < :before AND NOT EXISTS (
        SELECT FROM ledger.batches b WHERE b.state = 'running' AND b.scan_id = p.scan_id
    )
"""

_ENDED = text(f"""
    SELECT p.scan_id, p.name, p.finished_at AS ended_at, p.submitted AS images,
           p.is_audit, p.pruned_at
    FROM scan_progress p
    WHERE {_IS_OVER}
      AND (CAST(:chosen AS bigint[]) IS NULL OR p.scan_id = ANY(:chosen))
      AND p.scan_id NOT IN ({_NEWEST_AUDITS})
      AND NOT EXISTS ({_OUTPUT_IS_OPEN.format(scan_id="p.scan_id")})
    ORDER BY p.scan_id
""")  # noqa: S608 - our own words

_HAS_OPEN_OUTPUT = text(f"SELECT EXISTS ({_OUTPUT_IS_OPEN.format(scan_id=':scan_id')})")

_IS_NEWEST_AUDIT = text(f"SELECT :scan_id IN ({_NEWEST_AUDITS})")

# Without an `archive` no later audit compares with this one.
_BEGIN = text("""
    UPDATE ledger.scans SET pruned_at = coalesce(pruned_at, now()), archive = NULL
    WHERE scan_id = :scan_id
""")

_DELETE_SIGHTINGS = text("DELETE FROM ledger.sightings WHERE scan_id = :scan_id")
_DELETE_VANISHED = text("DELETE FROM ledger.vanished WHERE scan_id = :scan_id")

_CREATE_STAGES = """
    CREATE TEMPORARY TABLE IF NOT EXISTS doomed (image_id bigint PRIMARY KEY);
    CREATE TEMPORARY TABLE IF NOT EXISTS freed (content_id bigint, model_id integer)
        ON COMMIT DELETE ROWS;
    TRUNCATE doomed;
"""

_MARK_IMAGES = text("""
    INSERT INTO doomed
    SELECT i.image_id FROM ledger.batches b JOIN ledger.images i USING (batch_id)
    WHERE b.scan_id = ANY(:scan_ids)
""")

_AUDITS_THAT_STAY = text("""
    SELECT scan_id FROM ledger.scans
    WHERE is_audit AND scan_id > :first AND scan_id <> ALL(:scan_ids) ORDER BY scan_id DESC
""")

_SPARE = text("""
    DELETE FROM doomed d USING (
        SELECT unnest(image_ids) AS image_id FROM ledger.sightings WHERE scan_id = :scan_id
        UNION ALL
        SELECT image_id FROM ledger.vanished WHERE scan_id = :scan_id
    ) AS seen WHERE d.image_id = seen.image_id
""")

_LAST_SIGHTING = text("SELECT coalesce(max(sighting_id), 0) FROM ledger.sightings")

# No audit can see an image unchanged from here to the end of the transaction.
_HOLD_AUDITS = text("LOCK TABLE ledger.sightings IN SHARE MODE")

_SPARE_SINCE = text("""
    DELETE FROM doomed d USING (
        SELECT unnest(image_ids) AS image_id FROM ledger.sightings WHERE sighting_id > :after
    ) AS seen WHERE d.image_id = seen.image_id
""")

_ANY_MARKED = text("SELECT EXISTS (SELECT FROM doomed)")

_COUNT_MARKED = text("""
    SELECT count(*) FROM ledger.batches b JOIN ledger.images i USING (batch_id)
    JOIN doomed d USING (image_id) WHERE b.scan_id = :scan_id
""")

# Retries, rejudgements and resumes of the scan wait for this lock.
_LOCK_SCAN = text("SELECT FROM ledger.scans WHERE scan_id = :scan_id FOR UPDATE")

_HAS_ENDED = text(f"""
    SELECT {_IS_OVER} FROM scan_progress p WHERE p.scan_id = :scan_id
""")  # noqa: S608 - our own words

_NEXT_BATCHES = text("""
    SELECT batch_id FROM (
        SELECT batch_id, sum(image_count) OVER (ORDER BY batch_id) - image_count AS before
        FROM (
            SELECT batch_id, image_count FROM ledger.batches
            WHERE scan_id = :scan_id AND batch_id > :after ORDER BY batch_id LIMIT :images
        ) AS next
    ) AS summed WHERE before < :images ORDER BY batch_id
""")

_DELETE_IMAGES = text("""
    WITH gone AS (
        DELETE FROM ledger.images i USING doomed d
        WHERE i.batch_id = ANY(:batch_ids) AND i.image_id = d.image_id
        RETURNING i.image_id, i.batch_id
    ), unjudged AS (
        DELETE FROM ledger.verdicts v USING gone g WHERE v.image_id = g.image_id
        RETURNING v.content_id, v.model_id
    ), remembered AS (
        INSERT INTO freed SELECT content_id, model_id FROM unjudged
    ), ended AS (
        DELETE FROM ledger.outcomes o USING gone g WHERE o.image_id = g.image_id
        RETURNING o.image_id, o.status
    ), counted AS (
        SELECT g.batch_id, count(*) AS images,
               count(*) FILTER (WHERE e.status = 'classified') AS classified,
               count(*) FILTER (WHERE e.status = 'reused') AS reused,
               count(*) FILTER (WHERE e.status = 'failed') AS failed
        FROM gone g LEFT JOIN ended e USING (image_id) GROUP BY g.batch_id
    ), relieved AS (
        UPDATE ledger.batches b
        SET image_count = b.image_count - c.images,
            classified_count = b.classified_count - c.classified,
            reused_count = b.reused_count - c.reused, failed_count = b.failed_count - c.failed
        FROM counted c WHERE b.batch_id = c.batch_id
    )
    SELECT (SELECT count(*) FROM gone) AS images, (SELECT count(*) FROM unjudged) AS verdicts
""")

_DROP_EMPTY = text("""
    DELETE FROM ledger.batches WHERE batch_id = ANY(:batch_ids) AND image_count = 0
""")

# Where an older image now holds the newest verdict of a content, it returns to the review queue.
_BRING_BACK = text("""
    UPDATE ledger.verdicts v SET is_superseded = false
    FROM (SELECT DISTINCT content_id, model_id FROM freed) AS f
    CROSS JOIN LATERAL (
        SELECT n.image_id, n.is_superseded FROM ledger.verdicts n
        WHERE n.content_id = f.content_id AND n.model_id = f.model_id
        ORDER BY n.image_id DESC LIMIT 1
    ) AS newest
    WHERE newest.is_superseded AND v.image_id = newest.image_id AND v.model_id = f.model_id
""")

_HAS_BATCHES = text("SELECT EXISTS (SELECT FROM ledger.batches WHERE scan_id = :scan_id)")

_DELETE_SCAN = (
    text("DELETE FROM ledger.source_parts WHERE scan_id = :scan_id"),
    text("DELETE FROM ledger.scan_sources WHERE scan_id = :scan_id"),
    text("DELETE FROM ledger.listing_counts WHERE scan_id = :scan_id"),
    text("DELETE FROM ledger.scan_counts WHERE scan_id = :scan_id"),
    text("DELETE FROM ledger.scans WHERE scan_id = :scan_id"),
)


@dataclass(frozen=True, slots=True)
class EndedScan:
    """A scan that ended long ago, and the number of its remaining images."""

    scan_id: int
    name: str | None
    ended_at: datetime
    images: int
    is_audit: bool
    pruned_at: datetime | None

    @property
    def has_more_than_images(self) -> bool:
        """Whether the scan has rows to delete although all its images stay, or it has none."""
        return self.images == 0 or (self.is_audit and self.pruned_at is None)


@dataclass(frozen=True, slots=True)
class Deleted:
    """The rows that one transaction deleted, and its position.

    `last_batch_id` is None after the scan's last batch; `last_sighting` is the newest page that an
    audit had seen.
    """

    last_batch_id: int | None
    last_sighting: int
    images: int = 0
    verdicts: int = 0


def may_delete(connection: Connection) -> bool:
    """Return whether this user may delete from every table, as the owner may."""
    return bool(connection.execute(_MAY).scalar_one())


def lock_retention(connection: Connection) -> bool:
    """Try to lock retention for this process alone, until disconnected."""
    return bool(connection.execute(_LOCK).scalar_one())


def clock(connection: Connection) -> datetime:
    """Return the database's clock."""
    now: datetime = connection.execute(_CLOCK).scalar_one()
    return now


def ended_scans(
    connection: Connection, before: datetime, chosen: Sequence[int] | None = None
) -> list[EndedScan]:
    """Return the deletable scans that ended before a moment, of those chosen, oldest first.

    The newest audit of each archive stays: the next one compares with it.
    """
    wanted = {"before": before, "chosen": None if chosen is None else list(chosen)}
    rows = connection.execute(_ENDED, wanted).mappings()
    return [EndedScan(**{**row, "images": int(row["images"])}) for row in rows]


def why_it_stays(connection: Connection, scan_id: int, before: datetime) -> str | None:
    """Return why a scan must stay, None where it can be deleted.

    Raises:
        ScanError: there is no such scan.
    """
    now = progress(connection, scan_id)
    wanted = {"scan_id": scan_id, "before": before}
    if not ScanState(now.state).is_last or now.finished_at is None:
        return f"it is {now.state}"
    if now.finished_at >= before:
        return "it ended later than that"
    if connection.execute(_IS_NEWEST_AUDIT, wanted).scalar_one():
        return "it is the newest audit of its archive, and the next one is held against it"
    if connection.execute(_HAS_OPEN_OUTPUT, wanted).scalar_one():
        return "its output is not complete yet"
    if not ended_scans(connection, before, [scan_id]):
        return "a batch of it is still in work"
    return None


def settled_sightings(connection: Connection) -> int:
    """Return the newest sighting of an audit; every earlier one is committed."""
    connection.execute(_HOLD_AUDITS)
    return int(connection.execute(_LAST_SIGHTING).scalar_one())


def mark_images(connection: Connection, scan_ids: Sequence[int]) -> None:
    """Mark the deletable images of these scans, until the connection ends.

    Images that other audits refer to are spared.
    """
    connection.exec_driver_sql(_CREATE_STAGES)
    if not scan_ids:
        return
    wanted = {"scan_ids": list(scan_ids), "first": min(scan_ids)}
    connection.execute(_MARK_IMAGES, wanted)
    connection.exec_driver_sql("ANALYZE doomed")
    for audit in connection.execute(_AUDITS_THAT_STAY, wanted).scalars().all():
        if not connection.execute(_ANY_MARKED).scalar_one():
            break
        spare(connection, audit)


def spare(connection: Connection, audit: int) -> None:
    """Spare the images that an audit refers to."""
    connection.execute(_SPARE, {"scan_id": audit})


def marked_images(connection: Connection, scan_id: int) -> int:
    """Return the number of a scan's marked images."""
    return int(connection.execute(_COUNT_MARKED, {"scan_id": scan_id}).scalar_one())


def begin_deletion(connection: Connection, scan_id: int, before: datetime) -> bool:
    """Mark a scan as incomplete, and delete its sightings.

    Returns False, with nothing deleted, where the scan runs again.
    """
    if not _has_ended(connection, scan_id, before):
        return False
    wanted = {"scan_id": scan_id}
    for statement in (_BEGIN, _DELETE_SIGHTINGS, _DELETE_VANISHED):
        connection.execute(statement, wanted)
    return True


def delete_images(
    connection: Connection, scan_id: int, before: datetime, after: Deleted
) -> Deleted:
    """Delete marked images of a scan's next batches, with their verdicts and outcomes.

    Images that an audit saw since the last step are spared. A scan that runs again loses nothing.
    """
    if not _has_ended(connection, scan_id, before):
        return Deleted(None, after.last_sighting)
    wanted = {"scan_id": scan_id, "after": after.last_batch_id, "images": STEP_IMAGES}
    batch_ids = list(connection.execute(_NEXT_BATCHES, wanted).scalars())
    if not batch_ids:
        return Deleted(None, after.last_sighting)
    last_sighting = settled_sightings(connection)
    connection.execute(_SPARE_SINCE, {"after": after.last_sighting})
    gone = connection.execute(_DELETE_IMAGES, {"batch_ids": batch_ids}).one()
    connection.execute(_BRING_BACK)
    connection.execute(_DROP_EMPTY, {"batch_ids": batch_ids})
    return Deleted(batch_ids[-1], last_sighting, gone.images, gone.verdicts)


def delete_scan(connection: Connection, scan_id: int, before: datetime) -> bool:
    """Delete a scan that has no image left; return whether it is deleted."""
    wanted = {"scan_id": scan_id}
    if not _has_ended(connection, scan_id, before):
        return False
    if connection.execute(_HAS_BATCHES, wanted).scalar_one():
        return False
    for statement in _DELETE_SCAN:
        connection.execute(statement, wanted)
    return True


def _has_ended(connection: Connection, scan_id: int, before: datetime) -> bool:
    """Lock a scan until the transaction ends; return whether it had ended by that moment."""
    wanted = {"scan_id": scan_id, "before": before}
    if connection.execute(_LOCK_SCAN, wanted).one_or_none() is None:
        return False
    return bool(connection.execute(_HAS_ENDED, wanted).scalar_one())
