"""Statements about batches at fault: set aside with the reason, and tried again later."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from fakesweep.schema.ledger.batches.states import idle_state
from fakesweep.schema.reasons import reason

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 1_800.0
"""A batch is tried again after the first pause, then after twice as long, and so on up to this."""

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
    """Batches that could not be stored or brought back and are not done: the newest's reason."""

    batches: int
    images: int
    reason: str | None


def set_aside(connection: Connection, batch_id: int, said: str, attempt: int | None = None) -> bool:
    """Let a batch rest, the longer the more times it was refused in a row; a store ends that.

    `said` is why. With `attempt` only where it is still held by that. Returns whether it rests.
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
    """Let batches that rested for long enough be published again; return how many."""
    return connection.execute(_TRY_AGAIN).rowcount


def troubles(connection: Connection, scan_id: int | None = None) -> Troubles:
    """Return what is wrong with batches of a scan, or of all."""
    row = connection.execute(_TROUBLES, {"scan_id": scan_id}).one()
    return Troubles(row.batches, int(row.images), row.reason)
