"""Orphans: deletes contents without images, and records of processes and messages of long ago.

No foreign key refers to contents: a look-up by bytes may find its content deleted.
"""

from datetime import datetime

from sqlalchemy import Connection, text

STEP_CONTENTS = 20_000
"""Content numbers that one transaction reads."""

_DELETE_LOADS = text("""
    DELETE FROM ledger.model_loads l USING ledger.workers w
    WHERE l.worker_id = w.worker_id AND greatest(w.seen_at, w.stages_at, w.stopped_at) < :before
""")

_DELETE_OLD = {
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

# From here to the end of the transaction no worker claims a batch or ends one.
_HOLD_BATCHES = text("LOCK TABLE ledger.batches IN SHARE MODE")

_IN_WORK = text("SELECT count(*) FROM ledger.batches WHERE state = 'running'")

# Contents that an audit knows for pending images stay.
_AUDITING = text("""
    SELECT scan_id FROM scan_progress WHERE is_audit AND NOT has_ended
""")

_LAST_CONTENT = text("SELECT coalesce(max(content_id), 0) FROM ledger.contents")

_DELETE_CONTENTS = text("""
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


def delete_old(connection: Connection, before: datetime) -> dict[str, int]:
    """Delete workers, producers and dead letters older than a moment; return their numbers."""
    connection.execute(_DELETE_LOADS, {"before": before})
    return {
        name: connection.execute(statement, {"before": before}).rowcount
        for name, statement in _DELETE_OLD.items()
    }


def last_content(connection: Connection) -> int:
    """Return the highest content number."""
    return int(connection.execute(_LAST_CONTENT).scalar_one())


def delete_contents(connection: Connection, after: int) -> int | None:
    """Delete those of the next contents that have no image, with their scores; return their number.

    Returns None, with nothing deleted, while a batch is in work: its worker may have looked up a
    score that it needs when it stores.
    """
    connection.execute(_HOLD_BATCHES)
    if connection.execute(_IN_WORK).scalar_one():
        return None
    auditing = list(connection.execute(_AUDITING).scalars())
    wanted = {"after": after, "until": after + STEP_CONTENTS, "auditing": auditing}
    return int(connection.execute(_DELETE_CONTENTS, wanted).scalar_one())
