"""Stalls: the statement that finds why a scan does not move."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from fakesweep.schema.ledger.registry.processes import IS_LIVE

_MOVEMENT = text(f"""
    SELECT now() AS at, b.*, (
        SELECT count(*) FROM workers
        WHERE {IS_LIVE}
          AND worker_id <> ALL (CAST(:gone AS uuid[]))
    ) AS workers, ARRAY(
        SELECT hostname FROM producers
        WHERE {IS_LIVE}
          AND producer_id <> ALL (CAST(:gone AS uuid[]))
    ) AS producers, ARRAY(
        SELECT hostname FROM scan_sources
        WHERE scan_id = :scan_id AND listed_at IS NULL AND hostname IS NOT NULL
    ) AS listed_by, lt.reason AS listing_trouble,
        lt.since AS listing_troubled_since
    FROM (
        SELECT count(*) FILTER (WHERE state = 'recorded') AS recorded,
               count(*) FILTER (WHERE state = 'published') AS published,
               count(*) FILTER (WHERE state = 'running') AS running,
               count(*) FILTER (WHERE is_expired) AS expired,
               min(published_at) FILTER (WHERE state = 'running') AS running_since,
               coalesce(sum(pending) FILTER (WHERE lane = 'quarantine'), 0) AS quarantined,
               count(*) FILTER (WHERE trouble IS NOT NULL) AS troubled,
               (array_agg(trouble ORDER BY troubled_since DESC)
                   FILTER (WHERE trouble IS NOT NULL))[1] AS trouble
        FROM batches WHERE scan_id = :scan_id AND state <> 'done'
    ) AS b LEFT JOIN listing_troubles lt ON lt.scan_id = :scan_id
""")  # noqa: S608 - our own words


@dataclass(frozen=True, slots=True)
class Movement:
    """What could move a scan, at one moment of the database's clock.

    Batches are counted by state; `expired` are running ones without a lease; `running_since` is
    when the oldest of them was published; `quarantined` counts images. `producers` are the hosts
    with a live producer, `listed_by` the hosts that alone can list an open source. `troubled`
    batches were refused at their last try, the newest for the reason `trouble`. `listing_trouble`
    is the error that stops the listing since `listing_troubled_since`, None where there is none.
    """

    at: datetime
    recorded: int
    published: int
    running: int
    expired: int
    running_since: datetime | None
    quarantined: int
    workers: int
    producers: Sequence[str]
    listed_by: Sequence[str]
    troubled: int = 0
    trouble: str | None = None
    listing_trouble: str | None = None
    listing_troubled_since: datetime | None = None


def movement(
    connection: Connection, scan_id: int, *, within_seconds: float, gone: Collection[UUID] = ()
) -> Movement:
    """Return what could move a scan; processes count as live within `within_seconds`.

    Those in `gone` do not count.
    """
    wanted = {"scan_id": scan_id, "within_seconds": within_seconds, "gone": list(gone)}
    row = connection.execute(_MOVEMENT, wanted).mappings().one()
    return Movement(**{**row, "quarantined": int(row["quarantined"])})
