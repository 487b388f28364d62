"""Who has gone is told at once on the local stack, by silence on a cluster."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from fakesweep.diagnosis import missing_of
from fakesweep.presence import gone_here
from fakesweep.schema.ledger.registry.processes import LIVE_SECONDS, producer_seen, register_worker
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.ledger.reports.stalls import movement
from fakesweep.schema.ledger.reports.workers import live_workers
from fakesweep.schema.settings import Settings
from tests.integration.ledger.rows import ask, record, run

LOCAL = Settings(home=Path("/nowhere"))
CLUSTER = Settings(database_url="postgresql://db/x", broker_url="redis://r", home=Path("/nowhere"))
HERE = socket.gethostname()


@pytest.fixture
def ended_pid() -> Iterator[int]:
    """The pid of a process that has ended, and as a zombie still has its number."""
    with subprocess.Popen(["true"], stdin=subprocess.DEVNULL) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process.pid


def worker(engine: Engine, hostname: str, pid: int) -> UUID:
    worker_id = uuid4()
    with engine.begin() as connection:
        register_worker(
            connection, worker_id, hostname=hostname, pid=pid, device="cpu", version="1"
        )
    return worker_id


def producer(engine: Engine, hostname: str, pid: int) -> UUID:
    producer_id = uuid4()
    with engine.begin() as connection:
        producer_seen(connection, producer_id, hostname=hostname, pid=pid, version="1")
    return producer_id


def test_those_whose_process_has_ended_are_gone_at_once(engine: Engine, ended_pid: int) -> None:
    dead = {worker(engine, HERE, ended_pid), producer(engine, HERE, ended_pid)}
    alive = worker(engine, HERE, os.getpid())
    elsewhere = worker(engine, "elsewhere", ended_pid)
    scan_id = ask(engine)
    with engine.connect() as connection:
        assert set(gone_here(connection, CLUSTER)) == set()
        gone = gone_here(connection, LOCAL)
        shown = {one.worker_id for one in live_workers(connection, LIVE_SECONDS, gone)}
        found = movement(connection, scan_id, within_seconds=LIVE_SECONDS, gone=gone)
    assert set(gone) == dead
    assert shown == {alive, elsewhere}
    assert (found.workers, list(found.producers)) == (2, [])


def test_silence_of_15_seconds_is_enough_elsewhere(engine: Engine) -> None:
    worker(engine, "elsewhere", 1)
    with engine.connect() as connection:
        assert len(live_workers(connection, LIVE_SECONDS)) == 1
    run(engine, "UPDATE ledger.workers SET seen_at = now() - interval '16 seconds'")
    with engine.connect() as connection:
        assert live_workers(connection, LIVE_SECONDS) == []


@pytest.mark.parametrize(("settings", "resumes"), [(LOCAL, True), (CLUSTER, False)])
def test_what_a_scan_lacks_comes_with_the_command_that_helps(
    engine: Engine, settings: Settings, resumes: bool
) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://a/1"])
    with engine.connect() as connection:
        found = movement(connection, scan_id, within_seconds=LIVE_SECONDS)
        waits = missing_of(progress(connection, scan_id), found, settings)
    assert waits
    assert "fakesweep worker" in waits[0].said
    assert all((f"resume {scan_id}" in wait.said) == resumes for wait in waits)
