"""Quarantine: images that kill workers are isolated, and their neighbours are classified."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from fakesweep.producer import feeder, service
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.scans import ScanRequest, add_scan
from fakesweep.producer.service import serve
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.batches.publishing import take_recorded
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.settings import PREFIX, Settings
from fakesweep.schema.words import Lane
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.process.startup import open_work
from fakesweep.workers.threads.fatal import EXIT_STATUS
from tests.support.batches import publish_scan, result_rows
from tests.support.photographs import photograph
from tests.support.servers import wait_until
from tests.support.web_server import Answer, Request, web_server

LEASE_SECONDS = 3.0
DEVICE_TIMEOUT_SECONDS = 2.0

_UNBALANCED = text("""
    SELECT sum(image_count) - (SELECT count(*) FROM ledger.images),
           sum(classified_count + reused_count + failed_count)
               - (SELECT count(*) FROM ledger.outcomes)
    FROM ledger.batches
""")


_BURNT_NEIGHBOURS = text("""
    SELECT count(*) FROM ledger.batches
    WHERE expiries > 0 AND failed_count = 0 AND split_from IS NULL
""")


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url=broker_url,
        device="cpu",
        cpu_threads=1,
        loaders=2,
        models=("vit-tiny-cifake",),
        lease_seconds=LEASE_SECONDS,
        batch_images=3,
        allow_networks=(ip_network("127.0.0.0/8"),),
    )


@pytest.fixture
def producer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Producer]:
    """A producer whose service runs, with continuous recovery."""
    monkeypatch.setattr(feeder, "LOST_AFTER_SECONDS", 1.0)
    monkeypatch.setattr(service, "RECONCILE_SECONDS", 0.2)
    stop = threading.Event()
    with open_producer(settings, read_catalogue(None)) as opened, ThreadPoolExecutor(1) as thread:
        serving = thread.submit(serve, opened, stop)
        yield opened
        stop.set()
        serving.result(30)


@contextmanager
def _workers(settings: Settings, log: Path) -> Iterator[Path]:
    """Run workers in sequence; yield the file of their exit codes."""
    told = {
        "DATABASE_URL": settings.database_url or "", "BROKER_URL": settings.broker_url or "",
        "DEVICE": "cpu", "CPU_THREADS": "1", "LOADERS": "2", "MODELS": "vit-tiny-cifake",
        "LEASE_SECONDS": str(LEASE_SECONDS), "FILE_ROOTS": "/",
        "DEVICE_TIMEOUT_SECONDS": str(DEVICE_TIMEOUT_SECONDS),
    }  # fmt: skip
    ends = log.with_suffix(".ends")
    with log.open("wb") as errors, ends.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.poisoned_worker"],
            stdout=output,
            stderr=errors,
            env=_environment({f"{PREFIX}{name}": value for name, value in told.items()}),
        )
        try:
            yield ends
        finally:
            process.kill()
            process.wait()


def _environment(told: Mapping[str, str]) -> dict[str, str]:
    """Return our environment, limited to one thread, which makes forks safe."""
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {n: v for n, v in os.environ.items() if not n.startswith(PREFIX)} | single | dict(told)


def _scan(producer: Producer, folder: Path, names: list[str]) -> int:
    folder.mkdir()
    for seed, name in enumerate(names):
        (folder / f"{seed:02}-{name}.jpg").write_bytes(photograph(seed))
    request = ScanRequest((str(folder),), ("vit-tiny-cifake",), Lane.BULK, "default")
    return add_scan(producer, request)


def _await_end(engine: Engine, scan_id: int, log: Path) -> None:
    """Wait for a scan to finish; meanwhile its batches account for every image."""

    def finished() -> bool:
        with engine.connect() as connection:
            assert set(connection.execute(_UNBALANCED).one()) <= {0, None}
            return progress(connection, scan_id).state == "finished"

    wait_until(finished, f"the scan is finished: {log}", 120)


def test_an_image_that_kills_its_workers_is_found_and_its_neighbours_are_classified(
    settings: Settings, producer: Producer, engine: Engine, tmp_path: Path
) -> None:
    names = ["well", "well", "well", "poison", *["well"] * 8]
    log = tmp_path / "workers.log"
    with _workers(settings, log) as ends:
        scan_id = _scan(producer, tmp_path / "in", names)
        _await_end(engine, scan_id, log)
        killed = ends.read_text().split()
    among_others, alone_of_three, alone_of_one = 2, 1, 2
    assert killed == ["-9"] * (among_others + alone_of_three + alone_of_one)
    found = result_rows(engine, scan_id)
    statuses = {"well": "classified", "poison": "failed"}
    assert [row["status"] for row in found] == [statuses[name] for name in names]
    assert {row["failure_code"] for row in found} == {None, "killed_worker"}
    with engine.connect() as connection:
        burnt = connection.execute(_BURNT_NEIGHBOURS).scalar_one()
    assert burnt > 0, "neighbours went down with it, and that was held against none of them"


def test_an_image_that_stalls_its_workers_ends_them_loudly_and_is_found(
    settings: Settings, producer: Producer, engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "workers.log"
    with _workers(settings, log) as ends:
        scan_id = _scan(producer, tmp_path / "in", ["well", "well", "well", "stall"])
        _await_end(engine, scan_id, log)
        ended = ends.read_text().split()
    among_others, alone = 2, 2
    assert ended == [str(EXIT_STATUS)] * (among_others + alone)
    assert log.read_text().count("device_stuck") == 4
    statuses = [row["status"] for row in result_rows(engine, scan_id)]
    assert statuses == ["classified"] * 3 + ["failed"]


def test_a_batch_from_quarantine_runs_alone_and_the_others_wait_for_it(
    settings: Settings, engine: Engine
) -> None:
    """Two batches, then a quarantined one, then two more run in three separate steps."""
    gates = {name: threading.Event() for name in "abcde"}
    asked: list[str] = []

    def answer(request: Request) -> Answer:
        name = request.path[1]
        asked.append(name)
        assert gates[name].wait(30)
        return Answer(body=photograph(ord(name)))

    with web_server() as server, open_work(settings) as work, ThreadPoolExecutor(5) as threads:
        server.answer = answer
        messages = {name: publish_scan(engine, [f"{server.url}/{name}.jpg"])[0] for name in gates}
        messages["c"] = _quarantined(engine, messages["c"].batch_id)
        try:
            for name in "ab":
                threads.submit(run_batch, messages[name], work)
            wait_until(lambda: sorted(asked) == ["a", "b"], "two run side by side")
            threads.submit(run_batch, messages["c"], work)
            wait_until(lambda: work.batch_lock._waiting_exclusive == 1, "one wants to be alone")
            for name in "de":
                threads.submit(run_batch, messages[name], work)
            gates["a"].set()
            wait_until(lambda: work.leases.held == 1, "one of the two is done")
            assert _running(engine) == {messages["b"].batch_id}
            gates["b"].set()
            wait_until(lambda: asked[2:] == ["c"], "the one from quarantine runs")
            assert _running(engine) == {messages["c"].batch_id}
            gates["c"].set()
            wait_until(lambda: sorted(asked[3:]) == ["d", "e"], "the others run")
            assert len(_running(engine)) == 2
        finally:
            for gate in gates.values():
                gate.set()
    assert _running(engine) == set()


def _quarantined(engine: Engine, batch_id: int) -> BatchMessage:
    with engine.begin() as connection:
        connection.execute(
            text("""UPDATE ledger.batches SET lane = 'quarantine', state = 'recorded', expiries = 2
                    WHERE batch_id = :batch_id"""),
            {"batch_id": batch_id},
        )
        [message] = take_recorded(connection, Lane.QUARANTINE, 10)
    return message


def _running(engine: Engine) -> set[int]:
    with engine.connect() as connection:
        running = text("SELECT batch_id FROM ledger.batches WHERE state = 'running'")
        return set(connection.execute(running).scalars())
