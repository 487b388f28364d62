"""SQL about batches that statements share: what may be taken up, and the state of what is not."""

TAKABLE = "('recorded', 'published')"
"""The states of a batch that a worker may take up."""


def idle_state(word: str) -> str:
    """Return an expression for the state of a batch `b` that is handed back.

    It is `word`, as long as its scan is neither paused nor cancelled.
    """
    return f"""
        CAST(CASE WHEN EXISTS (
            SELECT FROM ledger.scans s
            WHERE s.scan_id = b.scan_id AND ledger.is_held(s.paused_at, s.cancelled_at)
        ) THEN 'held' ELSE '{word}' END AS ledger.batch_state)
    """
