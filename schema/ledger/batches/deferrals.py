"""Deferral of batches: the ledger sets a refused batch aside and retries it later."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from fakesweep.schema.ledger.batches.states import idle_state
from fakesweep.schema.reasons import reason

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 1_800.0
"""Longest pause before a retry; pauses double up to it."""

_SET_ASIDE = text(f"""
    UPDATE ledger.batches b
    SET state = {idle_state("set_aside")}, lease_until = NULL, refusals = refusals + 1,
        trouble = :reason, troubled_since = coalesce(troubled_since, now()),
        try_at = now() + make_interval(secs => least(
            :longest_seconds, :first_seconds * power(2.0, least(refusals, 30))))
    WHERE batch_id = :batch_id AND attempt = coalesce(:attempt, attempt) AND state <> 'done'
""")  # noqa: S608 - our own words

_TRY_AGAIN = text(f"""
    UPDATE ledger.batches b SET state = {idle_state("recorded")}
    WHERE batch_id IN (
        SELECT batch_id FROM ledger.batches
        WHERE state = 'set_aside' AND try_at <= now() FOR UPDATE SKIP LOCKED
    )
""")  # noqa: S608 - our own words

_TROUBLES = text("""
    SELECT count(*) AS batches, coalesce(sum(pending), 0) AS images,
           (array_agg(reason ORDER BY troubled_since DESC, batch_id DESC))[1] AS reason
    FROM batch_troubles WHERE scan_id = coalesce(:scan_id, scan_id)
""")


@dataclass(frozen=True, slots=True)
class Troubles:
    """Unfinished batches that the ledger refused, with the newest reason."""

    batches: int
    images: int
    reason: str | None


def set_aside(connection: Connection, batch_id: int, said: str, attempt: int | None = None) -> bool:
    """Set a batch aside; its pause doubles with each refusal in a row.

    `said` is the reason. With `attempt`, only the holder of that attempt can do it. Returns whether
    the batch is set aside.
    """
    return bool(
        connection.execute(
            _SET_ASIDE,
            {
                "batch_id": batch_id,
                "attempt": attempt,
                "reason": reason(said),
                "first_seconds": FIRST_PAUSE_SECONDS,
                "longest_seconds": LONGEST_PAUSE_SECONDS,
            },
        ).rowcount
    )


def try_again(connection: Connection) -> int:
    """Release batches whose pause is over for publishing; return their number."""
    return connection.execute(_TRY_AGAIN).rowcount


def troubles(connection: Connection, scan_id: int | None = None) -> Troubles:
    """Return the refused batches of a scan, or of all."""
    row = connection.execute(_TROUBLES, {"scan_id": scan_id}).one()
    return Troubles(row.batches, int(row.images), row.reason)
