"""Listing errors: the reason, its start and the next try."""

from sqlalchemy import Connection, text

from fakesweep.schema.reasons import reason as cut

_RECORD = text("""
    INSERT INTO ledger.listing_troubles AS t (scan_id, reason, since, try_at)
    SELECT scan_id, :reason, now(),
           ledger.next_try(NULL, make_interval(secs => :at_most_seconds))
    FROM ledger.scans WHERE scan_id = :scan_id
    ON CONFLICT (scan_id) DO UPDATE SET
        reason = excluded.reason,
        since = coalesce(t.since, now()),
        try_at = ledger.next_try(t.since, make_interval(secs => :at_most_seconds))
""")

END_TROUBLE = """
    UPDATE ledger.listing_troubles SET reason = NULL, since = NULL, try_at = NULL
    WHERE scan_id = :scan_id AND since IS NOT NULL
"""
_END = text(END_TROUBLE)


def record_trouble(
    connection: Connection, scan_id: int, reason: str, at_most_seconds: float
) -> None:
    """Record why a scan cannot be listed; its next try is at most `at_most_seconds` away."""
    connection.execute(
        _RECORD,
        {
            "scan_id": scan_id,
            "reason": cut(reason),
            "at_most_seconds": at_most_seconds,
        },
    )


def end_trouble(connection: Connection, scan_id: int) -> None:
    """Record that a scan can be listed again."""
    connection.execute(_END, {"scan_id": scan_id})
