"""The number of a scan's workers, for its cost."""

from sqlalchemy import Connection, text

from fakesweep.schema.ledger.registry.processes import IS_LIVE
from fakesweep.schema.ledger.reports.progress import Progress
from fakesweep.schema.words import ScanState

_WORKED = text("""
    SELECT count(DISTINCT worker_id) FROM batches WHERE scan_id = :scan_id
""")

_AT_WORK = text(f"""
    SELECT count(*) FROM workers
    WHERE {IS_LIVE}
      AND worker_id = ANY (ARRAY(
          SELECT worker_id FROM batches
          WHERE scan_id = :scan_id AND finished_at > now() - interval '60 seconds'
          UNION
          SELECT worker_id FROM batches WHERE scan_id = :scan_id AND state = 'running'
      ))
""")  # noqa: S608 - our own words


def scan_workers(connection: Connection, now: Progress, *, within_seconds: float) -> int:
    """Return the number of live workers that worked on a scan in the last minute.

    For an ended scan, all workers it ever had.
    """
    wanted = {"scan_id": now.scan_id, "within_seconds": within_seconds}
    statement = _WORKED if ScanState(now.state).is_last else _AT_WORK
    return int(connection.execute(statement, wanted).scalar_one())
