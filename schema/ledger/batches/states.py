"""SQL fragments on batch states that several statements share."""

TAKABLE = "('recorded', 'published')"
"""The states in which a worker may claim a batch."""


def idle_state(word: str) -> str:
    """Return an SQL expression for the state of a released batch `b`.

    It is `word`, or `held` where its scan is paused or cancelled.
    """
    return f"""
        CAST(CASE WHEN EXISTS (
            SELECT FROM ledger.scans s
            WHERE s.scan_id = b.scan_id AND ledger.is_held(s.paused_at, s.cancelled_at)
        ) THEN 'held' ELSE '{word}' END AS ledger.batch_state)
    """
