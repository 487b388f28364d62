"""The state of a batch that nobody works on, as SQL that several statements share."""


def idle_state(word: str) -> str:
    """Return an expression for the state of a batch `b` that is handed back.

    It is `word`, as long as its scan is neither paused nor cancelled.
    """
    return f"""
        CAST(CASE WHEN EXISTS (
            SELECT FROM ledger.scans s
            WHERE s.scan_id = b.scan_id AND (s.paused_at IS NOT NULL OR s.cancelled_at IS NOT NULL)
        ) THEN 'held' ELSE '{word}' END AS ledger.batch_state)
    """
