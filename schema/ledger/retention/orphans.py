"""Statements of forgetting what is left over: contents no image has, and signs of life long past.

No foreign key leads to contents: who looks for one by its bytes may find it gone.
"""

from datetime import datetime

from sqlalchemy import Connection, text

STEP_CONTENTS = 20_000
"""Numbers of contents that one transaction looks at."""

_FORGET_LOADS = text("""
    DELETE FROM ledger.model_loads l USING ledger.workers w
    WHERE l.worker_id = w.worker_id AND greatest(w.seen_at, w.stages_at, w.stopped_at) < :before
""")

_FORGET_OLD = {
    "workers": text("""
        DELETE FROM ledger.workers WHERE greatest(seen_at, stages_at, stopped_at) < :before
    """),
    "producers": text("DELETE FROM ledger.producers WHERE seen_at < :before"),
    "unreadable_messages": text(
        "DELETE FROM ledger.unreadable_messages WHERE received_at < :before"
    ),
    "submissions": text("DELETE FROM ledger.submissions WHERE created_at < :before"),
    "webhook_deliveries": text("""
        DELETE FROM ledger.webhook_deliveries d
        WHERE d.created_at < :before AND d.lease IS NULL
          AND NOT EXISTS (SELECT FROM ledger.images i WHERE i.image_id = d.image_id)
    """),
}

# From here to the end of the transaction no worker takes up a batch, or ends one.
_HOLD_BATCHES = text("LOCK TABLE ledger.batches IN SHARE MODE")

_IN_WORK = text("SELECT count(*) FROM ledger.batches WHERE state = 'running'")

# What they know of an image's bytes spares them a look.
_AUDITING = text("""
    SELECT scan_id FROM scan_progress WHERE is_audit AND NOT has_ended
""")

_LAST_CONTENT = text("SELECT coalesce(max(content_id), 0) FROM ledger.contents")

_FORGET_CONTENTS = text("""
    WITH gone AS (
        DELETE FROM ledger.contents c
        WHERE c.content_id > :after AND c.content_id <= :until
          AND NOT EXISTS (SELECT FROM ledger.verdicts v WHERE v.content_id = c.content_id)
          AND NOT EXISTS (
              SELECT FROM ledger.outcomes o
              WHERE o.content_id = c.content_id AND o.status = 'failed')
          AND NOT EXISTS (
              SELECT FROM ledger.images i
              WHERE i.scan_id = ANY(:auditing) AND i.known_content_id = c.content_id)
        RETURNING c.content_id
    ), unscored AS (
        DELETE FROM ledger.predictions p USING gone g WHERE p.content_id = g.content_id
    )
    SELECT count(*) FROM gone
""")


def forget_old(connection: Connection, before: datetime) -> dict[str, int]:
    """Forget workers and producers not seen since, and messages put aside; return how many."""
    connection.execute(_FORGET_LOADS, {"before": before})
    return {
        name: connection.execute(statement, {"before": before}).rowcount
        for name, statement in _FORGET_OLD.items()
    }


def last_content(connection: Connection) -> int:
    """Return the highest number of a content."""
    return int(connection.execute(_LAST_CONTENT).scalar_one())


def forget_contents(connection: Connection, after: int) -> int | None:
    """Forget those of the next contents that no image has, with their scores; return how many.

    Returns None, with nothing forgotten, while a batch is in work: its worker may have found a
    score that would be gone when it stores.
    """
    connection.execute(_HOLD_BATCHES)
    if connection.execute(_IN_WORK).scalar_one():
        return None
    auditing = list(connection.execute(_AUDITING).scalars())
    wanted = {"after": after, "until": after + STEP_CONTENTS, "auditing": auditing}
    return int(connection.execute(_FORGET_CONTENTS, wanted).scalar_one())
