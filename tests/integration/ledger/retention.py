"""Retention for tests: old scans, the steps that delete them, and invariants."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import Connection, Engine

from fakesweep.producer.retention.prune import Deleted, Plan, forget, plan_forgetting
from fakesweep.schema.ledger.retention.ended_scans import clock
from tests.integration.ledger.rows import (
    add_model,
    ask,
    claimed,
    content_of,
    end,
    failed,
    judged,
    record,
    run,
    store,
    take,
    tuples,
    value,
)

YEAR = timedelta(days=365)

_EXCEPTIONS = {
    "a scan does not account for its images": """
        SELECT p.scan_id FROM scan_progress p
        LEFT JOIN ledger.images i USING (scan_id) LEFT JOIN ledger.outcomes o USING (image_id)
        GROUP BY p.scan_id, p.submitted, p.classified, p.reused, p.failed, p.pending
        HAVING (p.submitted, p.classified, p.reused, p.failed, p.pending) <> (
            count(i.image_id), count(*) FILTER (WHERE o.status = 'classified'),
            count(*) FILTER (WHERE o.status = 'reused'),
            count(*) FILTER (WHERE o.status = 'failed'), count(i.image_id) - count(o.image_id))
    """,
    "a batch does not account for its images": """
        SELECT b.batch_id FROM ledger.batches b
        LEFT JOIN ledger.images i USING (batch_id) LEFT JOIN ledger.outcomes o USING (image_id)
        GROUP BY b.batch_id HAVING (b.image_count, b.failed_count) <> (
            count(i.image_id), count(*) FILTER (WHERE o.status = 'failed'))
    """,
    "an image has no batch or no scan": """
        SELECT image_id FROM ledger.images i
        LEFT JOIN ledger.batches b USING (batch_id)
        LEFT JOIN ledger.scans s ON s.scan_id = i.scan_id
        WHERE b.batch_id IS NULL OR s.scan_id IS NULL
    """,
    "an outcome has no image": """
        SELECT image_id FROM ledger.outcomes LEFT JOIN ledger.images i USING (image_id)
        WHERE i.image_id IS NULL
    """,
    "a verdict has no outcome, no content or no scores": """
        SELECT image_id FROM ledger.verdicts LEFT JOIN ledger.outcomes o USING (image_id)
        LEFT JOIN ledger.contents c ON c.content_id = verdicts.content_id
        LEFT JOIN ledger.predictions p
            ON (p.content_id, p.model_id) = (verdicts.content_id, verdicts.model_id)
        WHERE o.image_id IS NULL OR c.content_id IS NULL OR p.content_id IS NULL
    """,
    "an image was judged and has no verdict": """
        SELECT image_id FROM ledger.outcomes LEFT JOIN ledger.verdicts v USING (image_id)
        WHERE status <> 'failed' AND v.image_id IS NULL
    """,
    "an audit refers to an image that is gone": """
        SELECT image_id FROM (
            SELECT unnest(image_ids) AS image_id FROM ledger.sightings
            UNION ALL SELECT image_id FROM ledger.vanished
        ) AS seen LEFT JOIN ledger.images i USING (image_id) WHERE i.image_id IS NULL
    """,
    "the review queue lacks a content": """
        SELECT v.content_id FROM ledger.verdicts v WHERE v.verdict <> 'real'
          AND NOT EXISTS (SELECT FROM review_queue q WHERE q.content_id = v.content_id)
          AND NOT EXISTS (SELECT FROM ledger.verdicts n WHERE n.content_id = v.content_id
                          AND n.image_id > v.image_id)
    """,
}


def assert_whole(engine: Engine) -> None:
    """Assert that the ledger's counts add up and no reference dangles."""
    found = {said: tuples(engine, sql) for said, sql in _EXCEPTIONS.items()}
    assert not any(found.values()), found


def make_old(engine: Engine, *scan_ids: int, days: int = 400) -> None:
    """Move all rows of these scans into the past."""
    for table, columns in (
        ("scans", ("created_at", "listed_at", "cancelled_at")),
        ("batches", ("created_at", "published_at", "finished_at")),
    ):
        moved = ", ".join(f"{one} = {one} - make_interval(days => :days)" for one in columns)
        run(engine, f"UPDATE ledger.{table} SET {moved} WHERE scan_id = ANY(:scan_ids)",
            days=days, scan_ids=list(scan_ids))  # fmt: skip


def old_scan(engine: Engine, *names: str, batches: int = 1) -> int:
    """Return an old ended scan: each name has a content of its own, the last one failed."""
    model = add_model(engine)
    scan_id = ask(engine)
    for batch in range(batches):
        record(engine, scan_id, [f"s3://old/{scan_id}/{batch}/{name}" for name in names])
    end(engine, scan_id)
    for message in take(engine):
        held = claimed(engine, message.batch_id)
        *judgeable, last = message.images
        outcomes = [judged(held, one, content_of(one.uri), {model: 0.9}) for one in judgeable]
        assert store(engine, held, [*outcomes, failed(last)])
    make_old(engine, scan_id)
    return scan_id


def planned(engine: Engine, *chosen: int, age: timedelta = YEAR) -> Plan:
    """Return the scans and images that retention would delete."""
    with alone(engine) as connection:
        return plan_forgetting(connection, clock(connection) - age, chosen)


def steps(engine: Engine, *chosen: int, age: timedelta = YEAR) -> Iterator[Deleted]:
    """Delete everything older than an age; yield after each transaction."""
    with alone(engine) as connection:
        plan = plan_forgetting(connection, clock(connection) - age, chosen)
        yield from forget(connection, plan, threading.Event())


def prune(engine: Engine, *chosen: int, age: timedelta = YEAR) -> Deleted:
    """Delete everything older than an age, checking invariants at each step; return the scans."""
    *_, last = [Deleted(), *_watched(steps(engine, *chosen, age=age), engine)]
    assert_whole(engine)
    return last


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that closes after use, like a process of its own."""
    with engine.connect() as connection:
        connection.detach()
        yield connection
        connection.rollback()
        connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")


def _watched(walk: Iterator[Deleted], engine: Engine) -> Iterator[Deleted]:
    for told in walk:
        assert_whole(engine)
        yield told


def scans(engine: Engine) -> list[int]:
    """Return the existing scans."""
    return [row[0] for row in tuples(engine, "SELECT scan_id FROM ledger.scans ORDER BY scan_id")]


def uris(engine: Engine) -> list[str]:
    """Return the URIs of all images, in order."""
    return [row[0] for row in tuples(engine, "SELECT uri FROM ledger.images ORDER BY uri")]


def count(engine: Engine, table: str) -> int:
    """Return the number of rows of a table."""
    return int(value(engine, f"SELECT count(*) FROM ledger.{table}"))


def claim_all(engine: Engine) -> Sequence[int]:
    """Claim every batch; return the claims."""
    return [claimed(engine, message.batch_id).batch_id for message in take(engine)]
