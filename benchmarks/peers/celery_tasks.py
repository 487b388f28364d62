"""Runs the naive Celery worker on a fresh stack, with a task for each image."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.machine import REPOSITORY, cores
from benchmarks.peers.celery_worker import TABLE, app, classify
from benchmarks.peers.marks import FIRST, LAST, READY, ROWS, mark
from benchmarks.servers import LONGEST_SECONDS, Stack, end, fresh_stack, wait_until

POLL_SECONDS = 0.1


def main() -> None:
    """Classify a folder with a task for each image, and wait for the last row."""
    folder, checkpoint, out = map(Path, sys.argv[1:4])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds, and so stops the servers
    with fresh_stack() as stack:
        connection = psycopg2.connect(stack.database_url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(TABLE)
            worker, log = _start_worker(stack, checkpoint, out)
            try:
                ready = lambda: len(list(out.glob("ready-*"))) == cores()  # noqa: E731 - one line
                wait_until(ready, worker, log, 300)
                _send_and_wait(sorted(map(str, folder.iterdir())), stack, out, cursor)
            finally:
                end(worker)
        connection.close()


def _start_worker(
    stack: Stack, checkpoint: Path, out: Path
) -> "tuple[subprocess.Popen[bytes], Path]":
    environment = stack.environment({}) | {
        "BENCH_BROKER_URL": stack.broker_url,
        "BENCH_DATABASE_URL": stack.database_url,
        "BENCH_CHECKPOINT": str(checkpoint),
        "BENCH_OUT": str(out),
    }
    log = out / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "benchmarks.peers.celery_worker", "worker",
             "--concurrency", str(cores()), "--loglevel", "WARNING"],
            stdout=output, stderr=output, env=environment, cwd=REPOSITORY,
        )  # fmt: skip
    return worker, log


def _send_and_wait(paths: list[str], stack: Stack, out: Path, cursor: Any) -> None:
    app.conf.update(broker_url=stack.broker_url)
    mark(out, READY)
    for path in paths:
        classify.delay(path)
    deadline = time.monotonic() + LONGEST_SECONDS
    rows = 0
    while rows < len(paths) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        cursor.execute("SELECT count(*) FROM scores")
        rows = cursor.fetchone()[0]
    cursor.execute("SELECT extract(epoch FROM x) FROM (SELECT min(stored_at) FROM scores) t(x)")
    mark(out, FIRST, float(cursor.fetchone()[0]))
    cursor.execute("SELECT extract(epoch FROM x) FROM (SELECT max(stored_at) FROM scores) t(x)")
    mark(out, LAST, float(cursor.fetchone()[0]))
    mark(out, ROWS, rows)


if __name__ == "__main__":
    main()
