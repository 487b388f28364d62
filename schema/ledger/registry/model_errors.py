"""Models that workers cannot load: errors recorded, ended and shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from fakesweep.schema.reasons import reason as reason_of

_NOTE = text("""
    INSERT INTO ledger.model_troubles (worker_id, key, reason, tries, next_try_at)
    VALUES (:worker_id, :key, :reason, :tries, now() + make_interval(secs => :pause_seconds))
    ON CONFLICT (worker_id, key) DO UPDATE
    SET reason = excluded.reason, tries = excluded.tries, next_try_at = excluded.next_try_at,
        ended_at = NULL,
        since = CASE WHEN model_troubles.ended_at IS NULL THEN model_troubles.since ELSE now() END
""")

_END = text("""
    UPDATE ledger.model_troubles SET ended_at = now()
    WHERE worker_id = :worker_id AND key = :key AND ended_at IS NULL
""")

_TROUBLES = text("""
    SELECT model, hostname, reason, tries, since, next_try_at FROM model_troubles
    WHERE model = ANY(:models) ORDER BY model, since
""")


@dataclass(frozen=True, slots=True)
class ModelTrouble:
    """A model that a live worker cannot load; `next_try_at` is None where no retry follows."""

    model: str
    hostname: str
    reason: str
    tries: int
    since: datetime
    next_try_at: datetime | None


def note_trouble(
    connection: Connection,
    worker_id: UUID,
    key: str,
    *,
    reason: str,
    tries: int,
    pause_seconds: float | None,
) -> None:
    """Record that a worker cannot load a model, and the pause before its retry, if any."""
    connection.execute(
        _NOTE,
        {
            "worker_id": worker_id,
            "key": key,
            "reason": reason_of(reason),
            "tries": tries,
            "pause_seconds": pause_seconds,
        },
    )


def end_trouble(connection: Connection, worker_id: UUID, key: str) -> None:
    """Record that a worker has loaded a model after errors."""
    connection.execute(_END, {"worker_id": worker_id, "key": key})


def model_troubles(connection: Connection, models: Sequence[str]) -> list[ModelTrouble]:
    """Return those of the models that live workers cannot load now."""
    rows = connection.execute(_TROUBLES, {"models": list(models)})
    return [ModelTrouble(**row._mapping) for row in rows]  # noqa: SLF001 - its public name
