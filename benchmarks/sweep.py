"""Run of fakesweep as a user would: a worker, then `fakesweep scan` through the real queue."""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection, text

from benchmarks.memory import Watched, watched
from benchmarks.runs import Job, Run
from benchmarks.s3 import credentials
from benchmarks.servers import (
    LONGEST_SECONDS,
    Stack,
    command,
    end,
    fresh_stack,
    last_line,
    wait_until,
)
from fakesweep.schema.ledger.connection import open_engine

READY_SECONDS = 300.0
POLL_SECONDS = 0.05

_LOOK = text("""
    SELECT extract(epoch FROM clock_timestamp() - s.created_at) AS seconds,
           s.listed_at IS NOT NULL AS is_listed, sum(b.image_count) AS submitted,
           sum(b.classified_count + b.reused_count + b.failed_count) AS ended
    FROM ledger.scans s JOIN ledger.batches b USING (scan_id) GROUP BY s.scan_id
""")

# Refused and unfetched images are no work done; some images are truncated on purpose.
_ROWS = text("""
    SELECT count(*) FROM ledger.outcomes WHERE failure_code IS NULL OR failure_code = 'corrupt'
""")


def sweep(job: Job, settings: Mapping[str, str]) -> Run:
    """Scan a folder into a fresh database with these settings; return the run's figures.

    The worker is ready before the scan starts. The database's clock counts from the scan's row to
    the commit of the last image's row.

    Raises:
        RuntimeError: the worker or the scan ended early; the message is its last line.
    """
    with fresh_stack() as stack:
        environment = stack.environment({**job.settings, **settings}) | credentials()
        log = stack.home / "worker.log"
        started = time.monotonic()
        with log.open("wb") as output:
            worker = subprocess.Popen(
                command("worker", "--model", str(job.checkpoint)),
                stdout=output, stderr=output, env=environment,
            )  # fmt: skip
        try:
            wait_until(lambda: b"worker_ready" in log.read_bytes(), worker, log, READY_SECONDS)
            ready = time.monotonic() - started
            return _scan(job, stack, worker, environment, ready)
        finally:
            end(worker)


def _scan(
    job: Job,
    stack: Stack,
    worker: "subprocess.Popen[bytes]",
    environment: Mapping[str, str],
    start_seconds: float,
) -> Run:
    log = stack.home / "scan.log"
    with log.open("wb") as output:
        scan = subprocess.Popen(
            command("scan", job.source, "--model", str(job.checkpoint), "--json"),
            stdout=output, stderr=output, env=environment,
        )  # fmt: skip
    engine = open_engine(stack.database_url, "bench", pool_size=1)
    try:
        with (
            watched([worker.pid, scan.pid]) as memory,
            engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            first, last, tenth_bytes = _follow(job, connection, scan, log, memory)
            scan.wait(60)
            rows = int(connection.execute(_ROWS).scalar_one())
    finally:
        end(scan)
        engine.dispose()
    if scan.returncode:
        raise RuntimeError(f"the scan ended with {scan.returncode}: {last_line(log)}")
    return Run(job.images, rows, last, start_seconds, first, memory.peak_bytes, tenth_bytes)


def _follow(
    job: Job,
    connection: Connection,
    scan: "subprocess.Popen[bytes]",
    log: Path,
    memory: Watched,
) -> tuple[float, float, int]:
    """Return the seconds to the first and last result, and the memory over the first tenth."""
    first, tenth_bytes = 0.0, 0
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        row = connection.execute(_LOOK).one_or_none()
        if row is not None:
            first = first or (float(row.seconds) if row.ended else 0.0)
            if row.ended >= job.images / 10:
                tenth_bytes = tenth_bytes or memory.peak_bytes
            if row.is_listed and row.ended == row.submitted:
                return first, float(row.seconds), tenth_bytes
        if scan.poll() not in (None, 0):
            raise RuntimeError(f"the scan ended with {scan.returncode}: {last_line(log)}")
        time.sleep(POLL_SECONDS)
    raise RuntimeError(f"the scan did not end within {LONGEST_SECONDS:g} s")
