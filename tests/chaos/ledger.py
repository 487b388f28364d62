"""Queries of a run to the ledger, over connections outside the cluster's limit."""

import time
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2

from fakesweep.stack.processes import wait_for
from tests.chaos.postgres import DATABASE, Postgres

RETRY_SECONDS = 30.0
PLANTED_ROW = "a row from nowhere"
"""Mark of outcomes added by a fault, which no batch counts before it is checked."""

_SAMPLE = """
    SELECT p.scan_id, p.submitted, p.classified, p.reused, p.failed, p.pending, i.images,
           o.classified, o.reused, o.failed, o.planted
    FROM scan_progress p
    CROSS JOIN LATERAL (
        SELECT count(*) AS images FROM ledger.images WHERE scan_id = p.scan_id
    ) AS i
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE status = 'classified') AS classified,
               count(*) FILTER (WHERE status = 'reused') AS reused,
               count(*) FILTER (WHERE status = 'failed') AS failed,
               count(*) FILTER (WHERE failure_message = %s) AS planted
        FROM ledger.outcomes WHERE scan_id = p.scan_id
    ) AS o ORDER BY p.scan_id
"""

_TAKEN_UP = """
    SELECT pid, batch_id, attempt FROM ledger.batches JOIN ledger.workers USING (worker_id)
"""

_HELD = """
    SELECT batch_id FROM ledger.batches JOIN ledger.workers USING (worker_id)
    WHERE pid = %s AND state = 'running' AND started_at > now() - interval '1 day'
"""


@dataclass(frozen=True)
class Counted:
    """A snapshot of a scan, by the view and by its rows."""

    scan_id: int
    submitted: int
    told: tuple[int, int, int]
    pending: int
    images: int
    found: tuple[int, int, int]
    planted: int = 0

    @property
    def adds_up(self) -> bool:
        """Whether the accounting identity holds in the view and in its rows.

        Rows added by a fault may be uncounted.
        """
        in_view = self.submitted == sum(self.told) + self.pending and self.pending >= 0
        uncounted = self.found[2] - self.told[2]
        return (
            in_view
            and self.submitted == self.images
            and self.told[:2] == self.found[:2]
            and 0 <= uncounted <= self.planted
        )


@dataclass(frozen=True)
class Ledger:
    """Queries to one database of the server under test."""

    postgres: Postgres
    database: str = DATABASE

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of one query, over a new connection.

        Raises:
            psycopg2.Error: the server is away.
        """
        with (
            closing(self.postgres.connect(self.database)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SET statement_timeout = '20s'")
            cursor.execute(query, values)
            return cursor.fetchall()

    def insist(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of one query, with retries for a while."""
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                return self.ask(query, *values)
            except psycopg2.Error:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def sample(self) -> list[Counted]:
        """Return a consistent snapshot of every scan."""
        return [
            Counted(row[0], row[1], row[2:5], row[5], row[6], row[7:10], row[10])
            for row in self.ask(_SAMPLE, PLANTED_ROW)
        ]

    def taken_up(self) -> set[tuple[int, int, int]]:
        """Return each batch's last attempt as (worker's pid, batch, attempt)."""
        return set(self.insist(_TAKEN_UP))

    def outcomes(self) -> int:
        """Return the number of images with an outcome."""
        [(outcomes,)] = self.insist("SELECT count(*) FROM ledger.outcomes")
        return int(outcomes)

    def pending(self) -> int:
        """Return the number of recorded images without an outcome."""
        [(pending,)] = self.insist("SELECT coalesce(sum(pending), 0) FROM scan_progress")
        return int(pending)

    def held_by(self, pid: int | None) -> list[int]:
        """Return the unfinished batches of a worker process."""
        return [batch_id for (batch_id,) in self.insist(_HELD, pid)]

    def left_of(self, batches: Collection[int]) -> int:
        """Return the number of unfinished ones among these batches and their parts."""
        [(left,)] = self.ask(
            """SELECT count(*) FROM ledger.batches
               WHERE state <> 'done' AND (batch_id = ANY(%s) OR split_from = ANY(%s))""",
            list(batches), list(batches),
        )  # fmt: skip
        return int(left)

    def finishes(self, seconds: float) -> bool:
        """Wait for every scan to finish; return whether it did in time."""

        def finished() -> bool:
            time.sleep(0.2)
            states = self.insist("SELECT state FROM scan_progress")
            return all(state == "finished" for (state,) in states)

        return wait_for(finished, seconds)

    def scores(self) -> Iterator[tuple[str, list[float], float]]:
        """Yield each content's SHA-256, its scores and its p_fake."""
        yield from self.ask(
            """SELECT encode(sha256, 'hex'), scores, p_fake
               FROM ledger.predictions JOIN ledger.contents USING (content_id)"""
        )
