"""Statements of the reading side: everything a person is shown, from the public views."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg2.errorcodes import INVALID_CURSOR_DEFINITION
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DBAPIError

from fakesweep.schema.database import first_line
from fakesweep.schema.errors import DatabaseError, ScanError
from fakesweep.schema.stages import Counts, Stage, StageShare, added_up, counts_of, shares_of
from fakesweep.schema.states import IS_LIVE

_COUNTS = (
    "submitted", "classified", "reused", "failed", "pending", "unchanged", "new", "changed",
    "again",
)  # fmt: skip

_PROGRESS = text("SELECT *, now() AS at FROM scan_progress WHERE scan_id = :scan_id")

_RECENT = text("""
    SELECT *, now() AS at FROM scan_progress WHERE scan_id < :before
    ORDER BY scan_id DESC LIMIT :limit
""")

_SOURCES = text("""
    SELECT source FROM scan_sources WHERE scan_id = :scan_id ORDER BY position
""")

_FAILURE_COUNTS = text("""
    SELECT failure_code AS code, count(*) AS images FROM failures WHERE scan_id = :scan_id
    GROUP BY failure_code ORDER BY images DESC, failure_code
""")

_VERDICT_COUNTS = text("""
    SELECT model, verdict, count(*) AS images FROM verdicts
    WHERE scan_id = :scan_id GROUP BY model, verdict ORDER BY model, verdict
""")

_LIVE_WORKERS = text(f"""
    SELECT worker_id, hostname, pid, device, version, images_per_second, wall, stages, measured_at,
           started_at, seen_at
    FROM workers
    WHERE {IS_LIVE}
      AND worker_id <> ALL (CAST(:gone AS uuid[]))
    ORDER BY hostname, started_at, worker_id
""")  # noqa: S608 - our own words

_COUNTED = text("""
    SELECT worker_id, stages_total FROM workers
    WHERE stopped_at IS NULL AND stages_total IS NOT NULL
""")

_COUNTED_SINCE = text("""
    SELECT w.worker_id, w.stages_total, extract(epoch FROM w.measured_at - :since) AS seconds,
           w.measured_at >= b.stored_at OR w.stopped_at IS NOT NULL AS is_settled
    FROM (
        SELECT worker_id, max(finished_at) AS stored_at FROM batches
        WHERE scan_id = :scan_id AND finished_at > :since GROUP BY worker_id
    ) AS b JOIN workers w USING (worker_id)
    WHERE w.stages_total IS NOT NULL
""")

_MOVEMENT = text(f"""
    SELECT now() AS at, b.*, (
        SELECT count(*) FROM workers
        WHERE {IS_LIVE}
          AND worker_id <> ALL (CAST(:gone AS uuid[]))
    ) AS workers, ARRAY(
        SELECT hostname FROM producers
        WHERE {IS_LIVE}
          AND producer_id <> ALL (CAST(:gone AS uuid[]))
    ) AS producers, ARRAY(
        SELECT hostname FROM scan_sources
        WHERE scan_id = :scan_id AND listed_at IS NULL AND hostname IS NOT NULL
    ) AS listed_by, lt.reason AS listing_trouble,
        lt.since AS listing_troubled_since
    FROM (
        SELECT count(*) FILTER (WHERE state = 'recorded') AS recorded,
               count(*) FILTER (WHERE state = 'published') AS published,
               count(*) FILTER (WHERE state = 'running') AS running,
               count(*) FILTER (WHERE is_expired) AS expired,
               min(published_at) FILTER (WHERE state = 'running') AS running_since,
               coalesce(sum(pending) FILTER (WHERE lane = 'quarantine'), 0) AS quarantined,
               count(*) FILTER (WHERE trouble IS NOT NULL) AS troubled,
               (array_agg(trouble ORDER BY troubled_since DESC)
                   FILTER (WHERE trouble IS NOT NULL))[1] AS trouble
        FROM batches WHERE scan_id = :scan_id AND state <> 'done'
    ) AS b LEFT JOIN listing_troubles lt ON lt.scan_id = :scan_id
""")  # noqa: S608 - our own words

_OPEN_QUERY = text("SELECT ledger.open_query(:query)")

FETCH_ROWS = 1_000
LARGEST_ID = 2**63 - 1

_FETCH = f"FETCH {FETCH_ROWS} FROM opened"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scan is: `submitted = classified + reused + failed + pending`, always.

    `images_per_second` is the rate of the last minute, or of its whole life where it is finished.
    `seconds_left_so_far` is what is pending at that rate while more is being listed. Neither is
    told before results have come for ten seconds, or work has gone on for a minute. An audit
    passes over what is `unchanged`; `new`, `changed` and `again` are what it submitted, `vanished`
    what it no longer found, None where that is not known. `at` is the database's clock.
    """

    scan_id: int
    name: str | None
    lane: str
    state: str
    submitted: int
    classified: int
    reused: int
    failed: int
    pending: int
    images_per_second: float
    seconds_left: float | None
    seconds_left_so_far: float | None
    models: tuple[str, ...]
    policy: str
    created_at: datetime
    listed_at: datetime | None
    finished_at: datetime | None
    paused_at: datetime | None
    progressed_at: datetime
    is_audit: bool
    unchanged: int
    new: int
    changed: int
    again: int
    vanished: int | None
    pruned_at: datetime | None
    at: datetime
    first_finished_at: datetime | None

    @property
    def ended(self) -> int:
        """Images that have a row: a verdict or a failure."""
        return self.classified + self.reused + self.failed

    @property
    def listed(self) -> int:
        """Images its sources have told of so far."""
        return self.unchanged + self.submitted

    @property
    def images_per_second_overall(self) -> float:
        """Images ended a second since it was asked for, pauses and waits included.

        Of a finished scan until it first was so, whatever was run again later.
        """
        return self.ended / self._seconds_until(self.first_finished_at or self.finished_at)

    @property
    def listed_per_second(self) -> float:
        """Images listed a second since it was asked for, pauses and waits included."""
        return self.listed / self._seconds_until(self.listed_at or self.finished_at)

    def _seconds_until(self, end: datetime | None) -> float:
        return max(0.001, ((end or self.at) - self.created_at).total_seconds())


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """A worker process, and what it told of the ten seconds before `measured_at`, if anything."""

    worker_id: UUID
    hostname: str
    pid: int
    device: str
    version: str
    images_per_second: float | None
    wall: str | None
    stages: Mapping[Stage, StageShare] | None
    measured_at: datetime | None
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Movement:
    """What could move a scan at a moment of the database's clock.

    Batches by their state, `expired` those running whose lease ran out; `running_since` is when the
    oldest one in work was published; `quarantined` are images. `producers` are the hosts of those
    that live, `listed_by` the hosts that alone can list a source that is left. `troubled` batches
    could not be stored or brought back when they were last tried, the newest because of `trouble`.
    `listing_trouble` is why its sources could not be listed any further, `listing_troubled_since`
    since when; None where they can.
    """

    at: datetime
    recorded: int
    published: int
    running: int
    expired: int
    running_since: datetime | None
    quarantined: int
    workers: int
    producers: Sequence[str]
    listed_by: Sequence[str]
    troubled: int = 0
    trouble: str | None = None
    listing_trouble: str | None = None
    listing_troubled_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """What every worker had counted by a moment of the database's clock."""

    at: datetime
    by_worker: Mapping[UUID, Counts]


def progress(connection: Connection, scan_id: int) -> Progress:
    """Return how far a scan is.

    Raises:
        ScanError: there is no such scan.
    """
    row = connection.execute(_PROGRESS, {"scan_id": scan_id}).mappings().one_or_none()
    if row is None:
        raise ScanError(f"there is no scan {scan_id}; `fakesweep status` lists the scans there are")
    return _progress(row)


def recent_scans(
    connection: Connection, limit: int = 20, before: int = LARGEST_ID
) -> list[Progress]:
    """Return the newest scans, newest first, of those before one of this number."""
    rows = connection.execute(_RECENT, {"limit": limit, "before": before}).mappings()
    return [_progress(row) for row in rows]


def sources_of(connection: Connection, scan_id: int) -> list[str]:
    """Return a scan's sources as they were asked for."""
    return list(connection.execute(_SOURCES, {"scan_id": scan_id}).scalars())


def failure_counts(connection: Connection, scan_id: int) -> dict[str, int]:
    """Return how many images of a scan failed, by code, most first."""
    rows = connection.execute(_FAILURE_COUNTS, {"scan_id": scan_id})
    return {row.code: row.images for row in rows}


def verdict_counts(connection: Connection, scan_id: int) -> dict[str, dict[str, int]]:
    """Return how many images of a scan got which verdict, by model key."""
    counts: dict[str, dict[str, int]] = {}
    for row in connection.execute(_VERDICT_COUNTS, {"scan_id": scan_id}):
        counts.setdefault(row.model, {})[row.verdict] = row.images
    return counts


def live_workers(
    connection: Connection, within_seconds: float, gone: Collection[UUID] = ()
) -> list[WorkerReport]:
    """Return the workers that gave a sign of life lately, by host, without those known as gone."""
    found = []
    wanted = {"within_seconds": within_seconds, "gone": list(gone)}
    for row in connection.execute(_LIVE_WORKERS, wanted).mappings():
        stages = row["stages"] and shares_of(row["stages"])
        found.append(WorkerReport(**{**row, "stages": stages}))
    return found


def movement(
    connection: Connection, scan_id: int, *, within_seconds: float, gone: Collection[UUID] = ()
) -> Movement:
    """Return what could move a scan: workers and producers count if seen within so many seconds.

    Those that are known as gone do not.
    """
    wanted = {"scan_id": scan_id, "within_seconds": within_seconds, "gone": list(gone)}
    row = connection.execute(_MOVEMENT, wanted).mappings().one()
    return Movement(**{**row, "quarantined": int(row["quarantined"])})


def counted(connection: Connection) -> Counted:
    """Return what the workers have counted so far, to be subtracted later."""
    at = connection.execute(text("SELECT now()")).scalar_one()
    rows = connection.execute(_COUNTED)
    return Counted(at, {row.worker_id: counts_of(row.stages_total) for row in rows})


def counted_since(
    connection: Connection, scan_id: int, before: Counted
) -> tuple[Counts | None, bool]:
    """Return what the workers that stored batches of a scan since then have counted since then.

    The counts are None where nothing is known. Beside them: whether each of these workers has
    counted what it stored last.
    """
    found = []
    is_settled = True
    for row in connection.execute(_COUNTED_SINCE, {"scan_id": scan_id, "since": before.at}):
        counts = counts_of(row.stages_total)
        if row.worker_id in before.by_worker:
            counts -= before.by_worker[row.worker_id]
        found.append(counts.within(float(row.seconds)))
        is_settled = is_settled and row.is_settled
    together = added_up(found)
    return (together if together.shows_work else None), is_settled


def query(connection: Connection, sql: str) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
    """Run one reading query of a person's own: its column names, and its rows as they come.

    The transaction is read-only and the server opens the text as a single cursor, so it can
    neither write nor smuggle a second statement in.

    Raises:
        DatabaseError: the text is not one query.
    """
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    try:
        connection.execute(_OPEN_QUERY, {"query": sql.strip().rstrip(";")})
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != INVALID_CURSOR_DEFINITION:
            raise
        raise DatabaseError(
            f"this is not one reading query, and `fakesweep sql` runs nothing else: "
            f"{first_line(error)}"
        ) from error
    first = connection.exec_driver_sql(_FETCH)
    return list(first.keys()), _rows(connection, first.all())


def _rows(connection: Connection, rows: Sequence[Row[Any]]) -> Iterator[Sequence[Any]]:
    while rows:
        yield from rows
        rows = connection.exec_driver_sql(_FETCH).all()


def _progress(row: Mapping[Any, Any]) -> Progress:
    shown: dict[str, Any] = {field.name: row.get(field.name) for field in fields(Progress)}
    shown |= {name: int(row[name]) for name in _COUNTS}
    left, so_far = row["seconds_left"], row["seconds_left_so_far"]
    shown |= {
        "images_per_second": float(row["images_per_second"]),
        "seconds_left": None if left is None else float(left),
        "seconds_left_so_far": None if so_far is None else float(so_far),
        "models": tuple(row["models"]),
    }
    return Progress(**shown)
