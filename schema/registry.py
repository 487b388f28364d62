"""Statements about what the work is done by: policies, models and worker processes."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from fakesweep.schema.errors import CatalogueError
from fakesweep.schema.labels import Labels
from fakesweep.schema.policy import Policy
from fakesweep.schema.stages import Counts, StageReport
from fakesweep.schema.states import IS_LIVE

LIVE_SECONDS = 15.0
"""A worker or producer that gave no sign of life for so long is not counted on."""

_CURRENT_POLICY = text("SELECT policy_id FROM policies WHERE name = :name AND is_current")

_STANDING_POLICY = text("SELECT ledger.standing_policy(:name, :real_below, :fake_above)")

_SET_POLICY = text("SELECT set_policy(:name, :real_below, :fake_above)")

_MAY_ADD_POLICIES = text("SELECT has_column_privilege('ledger.policies', 'name', 'INSERT')")

_POLICY_NAMES = text("SELECT name FROM policies WHERE is_current ORDER BY name")

_LOCK_KEY = text("SELECT pg_advisory_xact_lock(hashtext('fakesweep model'), hashtext(:key))")

_REGISTER_MODEL = text("""
    INSERT INTO ledger.models
        (key, source, revision, fingerprint, architecture, preprocessing, labels, sides,
         sides_origin)
    VALUES
        (:key, :source, :revision, :fingerprint, :architecture, :preprocessing, :labels, :sides,
         :sides_origin)
    ON CONFLICT (key, revision, fingerprint) DO UPDATE SET superseded_at = NULL
    RETURNING model_id
""").bindparams(bindparam("preprocessing", type_=JSONB))

_SUPERSEDE_OTHERS = text("""
    UPDATE ledger.models SET superseded_at = now()
    WHERE key = :key AND model_id <> :model_id AND superseded_at IS NULL
""")

_REVISIONS = text("""
    SELECT revision, is_current, first_loaded_at FROM models
    WHERE model = :key ORDER BY model_id
""")

_REGISTER_WORKER = text("""
    INSERT INTO ledger.workers (worker_id, hostname, pid, device, version)
    VALUES (:worker_id, :hostname, :pid, :device, :version)
""")

_RECORD_LOAD = text("""
    INSERT INTO ledger.model_loads (worker_id, model_id, seconds)
    VALUES (:worker_id, :model_id, :seconds) ON CONFLICT DO NOTHING
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

_REJUDGE = text("SELECT rejudge(:scan_id, :policy)")


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Everything a score depends on besides the pixels; one row of `ledger.models`.

    `fingerprint` is a digest of preprocessing, labels and precision.
    """

    key: str
    source: str
    revision: str
    fingerprint: str
    architecture: str
    preprocessing: dict[str, Any]
    labels: Labels


@dataclass(frozen=True, slots=True)
class LoadedRevision:
    """A revision of a model as the ledger knows it."""

    revision: str
    is_current: bool
    first_loaded_at: datetime


def policy_id(connection: Connection, name: str, wanted: Policy | None) -> int:
    """Return the row of the newest policy of that name, adding one where `wanted` differs from it.

    `wanted` is what the operator's own file says, None where the database alone decides.

    Raises:
        CatalogueError: neither the file nor the database knows the name, or the file says something
            new and this user may not add it.
    """
    if wanted is not None:
        return _policy_as(connection, replace(wanted, name=name))
    found: int | None = connection.execute(_CURRENT_POLICY, {"name": name}).scalar_one_or_none()
    if found is None:
        known = ", ".join(connection.execute(_POLICY_NAMES).scalars())
        raise CatalogueError(f"policy {name!r} is not known; known: {known}")
    return found


def rejudge(connection: Connection, scan_id: int, policy: str) -> int:
    """Judge a scan again from its stored scores; return how many verdicts changed their word."""
    return int(connection.execute(_REJUDGE, {"scan_id": scan_id, "policy": policy}).scalar_one())


def register_model(connection: Connection, identity: ModelIdentity) -> int:
    """Return the model's row, made the only current one of its key."""
    connection.execute(_LOCK_KEY, {"key": identity.key})
    model_id = int(
        connection.execute(
            _REGISTER_MODEL,
            {
                "key": identity.key,
                "source": identity.source,
                "revision": identity.revision,
                "fingerprint": identity.fingerprint,
                "architecture": identity.architecture,
                "preprocessing": identity.preprocessing,
                "labels": list(identity.labels.names),
                "sides": [side.value for side in identity.labels.sides],
                "sides_origin": identity.labels.origin.value,
            },
        ).scalar_one()
    )
    connection.execute(_SUPERSEDE_OTHERS, {"key": identity.key, "model_id": model_id})
    return model_id


def revisions_of(connection: Connection, key: str) -> list[LoadedRevision]:
    """Return the revisions of a model that workers have loaded, oldest first."""
    rows = connection.execute(_REVISIONS, {"key": key})
    return [LoadedRevision(row.revision, row.is_current, row.first_loaded_at) for row in rows]


def register_worker(
    connection: Connection,
    worker_id: UUID,
    *,
    hostname: str,
    pid: int,
    device: str,
    version: str,
) -> None:
    """Record that a worker process started."""
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


def record_load(connection: Connection, worker_id: UUID, model_id: int, seconds: float) -> None:
    """Record that a worker loaded a model, which it does once."""
    connection.execute(
        _RECORD_LOAD, {"worker_id": worker_id, "model_id": model_id, "seconds": seconds}
    )


def record_stages(
    connection: Connection, worker_id: UUID, lately: StageReport, total: Counts
) -> None:
    """Record where a worker's time went: in its last seconds, and all since its start."""
    connection.execute(
        _RECORD_STAGES,
        {"worker_id": worker_id, "lately": lately.as_json(), "total": total.as_json()},
    )


def retire_worker(connection: Connection, worker_id: UUID) -> None:
    """Record that a worker process left in order."""
    connection.execute(_RETIRE_WORKER, {"worker_id": worker_id})


def producer_seen(
    connection: Connection, producer_id: UUID, *, hostname: str, pid: int, version: str
) -> None:
    """Record that a producer's service is at work."""
    connection.execute(
        _REGISTER_PRODUCER,
        {"producer_id": producer_id, "hostname": hostname, "pid": pid, "version": version},
    )


def retire_producer(connection: Connection, producer_id: UUID) -> None:
    """Record that a producer's service left in order."""
    connection.execute(_RETIRE_PRODUCER, {"producer_id": producer_id})


def workers_seen(connection: Connection, within_seconds: float) -> int:
    """Return how many worker processes gave a sign of life lately."""
    return int(connection.execute(_WORKERS_SEEN, {"within_seconds": within_seconds}).scalar_one())


def seen_on(connection: Connection, hostname: str, within_seconds: float) -> list[tuple[UUID, int]]:
    """Return workers and producers of a host that gave a sign of life lately, with their pids."""
    wanted = {"hostname": hostname, "within_seconds": within_seconds}
    return [(row.worker_id, row.pid) for row in connection.execute(_SEEN_ON, wanted)]


def _policy_as(connection: Connection, wanted: Policy) -> int:
    standing: int | None = connection.execute(_STANDING_POLICY, asdict(wanted)).scalar_one()
    if standing is not None:
        return standing
    if not connection.execute(_MAY_ADD_POLICIES).scalar_one():
        raise CatalogueError(
            f"the ledger does not know policy {wanted.name!r} as the catalogue's file has it, and "
            f"this user may not add it; start `fakesweep producer` with that file first"
        )
    return int(connection.execute(_SET_POLICY, asdict(wanted)).scalar_one())
