"""Live workers, and the throughput counts of all workers."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from fakesweep.schema.ledger.registry.processes import IS_LIVE
from fakesweep.schema.telemetry.throughput import (
    Counts,
    Stage,
    StageShare,
    added_up,
    counts_of,
    shares_of,
)

_LIVE_WORKERS = text(f"""
    SELECT worker_id, hostname, pid, device, version, images_per_second, bottleneck, wall, stages,
           measured_at, started_at, seen_at
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


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """A worker process, and its throughput in the ten seconds before `measured_at`."""

    worker_id: UUID
    hostname: str
    pid: int
    device: str
    version: str
    images_per_second: float | None
    bottleneck: str | None
    wall: str | None
    stages: Mapping[Stage, StageShare] | None
    measured_at: datetime | None
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """The counts of every worker at one moment of the database's clock."""

    at: datetime
    by_worker: Mapping[UUID, Counts]


def live_workers(
    connection: Connection, within_seconds: float, gone: Collection[UUID] = ()
) -> list[WorkerReport]:
    """Return the live workers by host, without those in `gone`."""
    found = []
    wanted = {"within_seconds": within_seconds, "gone": list(gone)}
    for row in connection.execute(_LIVE_WORKERS, wanted).mappings():
        stages = row["stages"] and shares_of(row["stages"])
        found.append(WorkerReport(**{**row, "stages": stages}))
    return found


def counted(connection: Connection) -> WorkerCounts:
    """Return the counts of every worker so far, for `counted_since`."""
    at = connection.execute(text("SELECT now()")).scalar_one()
    rows = connection.execute(_COUNTED)
    return WorkerCounts(at, {row.worker_id: counts_of(row.stages_total) for row in rows})


def counted_since(
    connection: Connection, scan_id: int, before: WorkerCounts
) -> tuple[Counts | None, bool]:
    """Return the counts, since `before`, of workers that stored batches of the scan since then.

    They are None where none are known. The second value tells whether each of these workers has
    counted its last store.
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
