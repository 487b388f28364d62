"""Models: statements that register revisions and their loads."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from fakesweep.schema.judging.labels import Labels

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


_RECORD_LOAD = text("""
    INSERT INTO ledger.model_loads (worker_id, model_id, seconds)
    VALUES (:worker_id, :model_id, :seconds) ON CONFLICT DO NOTHING
""")


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The identity on which a score depends besides the pixels; one row of `ledger.models`.

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


def register_model(connection: Connection, identity: ModelIdentity) -> int:
    """Register a model as the only current one of its key; return its row."""
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
    """Return the loaded revisions of a model, oldest first."""
    rows = connection.execute(_REVISIONS, {"key": key})
    return [LoadedRevision(row.revision, row.is_current, row.first_loaded_at) for row in rows]


def record_load(connection: Connection, worker_id: UUID, model_id: int, seconds: float) -> None:
    """Record that a worker has loaded a model."""
    connection.execute(
        _RECORD_LOAD, {"worker_id": worker_id, "model_id": model_id, "seconds": seconds}
    )
