"""Worker and producer processes: registered, counted and retired."""

from uuid import UUID

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from fakesweep.schema.telemetry.throughput import Counts, StageReport

LIVE_SECONDS = 15.0
"""Age in seconds of a heartbeat up to which a process counts as live."""

IS_LIVE = "stopped_at IS NULL AND seen_at > now() - make_interval(secs => :within_seconds)"
"""SQL condition on the views `workers` and `producers`: the process is live."""

_REGISTER_WORKER = text("""
    INSERT INTO ledger.workers (worker_id, hostname, pid, device, version)
    VALUES (:worker_id, :hostname, :pid, :device, :version)
""")


_RECORD_STAGES = text("""
    UPDATE ledger.workers
    SET stages_lately = :lately, stages_total = :total, stages_at = now()
    WHERE worker_id = :worker_id
""").bindparams(bindparam("lately", type_=JSONB), bindparam("total", type_=JSONB))


_RETIRE_WORKER = text("UPDATE ledger.workers SET stopped_at = now() WHERE worker_id = :worker_id")


_REGISTER_PRODUCER = text("""
    INSERT INTO ledger.producers (producer_id, hostname, pid, version)
    VALUES (:producer_id, :hostname, :pid, :version)
    ON CONFLICT (producer_id) DO UPDATE SET seen_at = now(), stopped_at = NULL
""")


_RETIRE_PRODUCER = text("""
    UPDATE ledger.producers SET stopped_at = now() WHERE producer_id = :producer_id
""")


_WORKERS_SEEN = text(f"""
    SELECT count(*) FROM workers
    WHERE {IS_LIVE}
""")  # noqa: S608 - our own words


_SEEN_ON = text(f"""
    SELECT worker_id, pid FROM workers
    WHERE {IS_LIVE}
      AND hostname = :hostname
    UNION ALL
    SELECT producer_id, pid FROM producers
    WHERE {IS_LIVE}
      AND hostname = :hostname
""")  # noqa: S608 - our own words


def register_worker(
    connection: Connection,
    worker_id: UUID,
    *,
    hostname: str,
    pid: int,
    device: str,
    version: str,
) -> None:
    """Register a worker process at its start."""
    connection.execute(
        _REGISTER_WORKER,
        {
            "worker_id": worker_id,
            "hostname": hostname,
            "pid": pid,
            "device": device,
            "version": version,
        },
    )


def record_stages(
    connection: Connection, worker_id: UUID, lately: StageReport, total: Counts
) -> None:
    """Record a worker's throughput: of the last seconds, and since its start."""
    connection.execute(
        _RECORD_STAGES,
        {"worker_id": worker_id, "lately": lately.as_json(), "total": total.as_json()},
    )


def retire_worker(connection: Connection, worker_id: UUID) -> None:
    """Record the orderly end of a worker process."""
    connection.execute(_RETIRE_WORKER, {"worker_id": worker_id})


def producer_seen(
    connection: Connection, producer_id: UUID, *, hostname: str, pid: int, version: str
) -> None:
    """Record the heartbeat of a producer's service."""
    connection.execute(
        _REGISTER_PRODUCER,
        {"producer_id": producer_id, "hostname": hostname, "pid": pid, "version": version},
    )


def retire_producer(connection: Connection, producer_id: UUID) -> None:
    """Record the orderly end of a producer's service."""
    connection.execute(_RETIRE_PRODUCER, {"producer_id": producer_id})


def workers_seen(connection: Connection, within_seconds: float) -> int:
    """Return the number of live worker processes."""
    return int(connection.execute(_WORKERS_SEEN, {"within_seconds": within_seconds}).scalar_one())


def seen_on(connection: Connection, hostname: str, within_seconds: float) -> list[tuple[UUID, int]]:
    """Return the live workers and producers of a host, with their pids."""
    wanted = {"hostname": hostname, "within_seconds": within_seconds}
    return [(row.worker_id, row.pid) for row in connection.execute(_SEEN_ON, wanted)]
