"""Two workers on the same work at once, and a worker with a wrong clock."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from fakesweep.producer.publisher import Publisher
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.settings import PREFIX, Settings
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.process.startup import open_work
from tests.support.batches import publish_scan, result_rows, uris_of
from tests.support.photographs import folder_of_photographs
from tests.support.servers import wait_until

AHEAD = """
import sys, time
true_time = time.time
time.time = lambda: true_time() + 600
from fakesweep.schema.settings import read_settings
from fakesweep.workers.app import run_worker
sys.exit(run_worker(read_settings()))
"""


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url=broker_url,
        device="cpu",
        loaders=1,
        cpu_threads=1,
        file_roots=(Path("/"),),
        models=("vit-tiny-cifake",),  # loaded before they start: a process loads one at a time
    )


@pytest.fixture
def workers(settings: Settings) -> Iterator[list[Work]]:
    with ExitStack() as opened:
        yield [opened.enter_context(open_work(settings)) for _ in range(2)]


def test_two_workers_given_the_same_batch_write_its_rows_once(
    workers: list[Work], engine: Engine, tmp_path: Path
) -> None:
    [message] = publish_scan(engine, uris_of(folder_of_photographs(tmp_path, 20)))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda work: run_batch(message, work), workers * 2))
    found = result_rows(engine, message.scan_id)
    assert len(found) == len({row["uri"] for row in found}) == 20
    assert {row["status"] for row in found} == {"classified"}
    with engine.connect() as connection:
        done = progress(connection, message.scan_id)
    assert (done.submitted, done.classified, done.pending) == (20, 20, 0)


def test_the_same_images_scanned_by_two_workers_at_once_get_identical_rows(
    workers: list[Work], engine: Engine, tmp_path: Path
) -> None:
    uris = uris_of(folder_of_photographs(tmp_path, 40))
    scans = [publish_scan(engine, uris, size=10), publish_scan(engine, uris[::-1], size=10)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(_run_all, zip(scans, workers, strict=True)))
    compared = ("uri", "verdict", "kind", "p_fake", "model", "model_revision", "scores", "sha256")
    first, second = (
        sorted(
            ([row[name] for name in compared] for row in result_rows(engine, scan[0].scan_id)),
            key=str,
        )
        for scan in scans
    )
    assert len(first) == 40
    assert first == second
    with engine.connect() as connection:
        scored = connection.execute(text("SELECT count(*) FROM ledger.predictions")).scalar_one()
    assert scored == 40


def test_a_worker_whose_clock_is_wrong_holds_its_leases_by_the_databases_clock(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    messages = publish_scan(engine, uris_of(folder_of_photographs(tmp_path / "in", 60)), size=15)
    publisher = Publisher(settings)
    for message in messages:
        publisher.publish(message)
    publisher.close()
    longest: list[float] = []

    def finished() -> bool:
        with engine.connect() as connection:
            leases = connection.execute(
                text("SELECT extract(epoch FROM lease_until - now()) FROM ledger.batches "
                     "WHERE state = 'running'")
            ).scalars()  # fmt: skip
            longest.extend(map(float, leases))
            return progress(connection, messages[0].scan_id).state == "finished"

    told = {
        f"{PREFIX}{name}": value
        for name, value in {
            "DATABASE_URL": settings.database_url, "BROKER_URL": settings.broker_url,
            "DEVICE": "cpu", "LOADERS": "1", "CPU_THREADS": "1", "FILE_ROOTS": "/",
        }.items()
        if value
    }  # fmt: skip
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", AHEAD], stdout=output, stderr=output, env=_environment() | told
        )
    try:
        wait_until(finished, "the scan finishes", 60)
    finally:
        process.terminate()
        process.wait(30)
    assert longest, log.read_text()
    assert max(longest) <= settings.lease_seconds
    assert min(longest) > 0


def _run_all(share: tuple[list[BatchMessage], Work]) -> None:
    messages, work = share
    for message in messages:
        run_batch(message, work)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
