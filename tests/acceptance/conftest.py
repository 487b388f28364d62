"""A local stack for the session, a cluster with one real worker, and fresh images to scan."""

import itertools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url, text

from fakesweep.schema.ledger.connection import open_engine
from tests.acceptance.base_install import make_base_install
from tests.acceptance.command import Command
from tests.support.photographs import photograph
from tests.support.servers import CLUSTER_BROKER_DATABASE, S3Server, wait_until

FRESH_FROM = 100_000
_seeds = itertools.count(FRESH_FROM)

Photographs = Callable[..., Path]


@pytest.fixture(scope="session")
def local() -> Iterator[Command]:
    """The command with a local stack of its own, and small batches."""
    home = Path(tempfile.mkdtemp(prefix="fs-home-", dir="/tmp"))
    command = Command(
        {
            "HOME": str(home),
            "BATCH_IMAGES": "4",
            "CPU_THREADS": "1",
            "LOADERS": "1",
            "LEASE_SECONDS": "5",
        }
    )
    try:
        yield command
    finally:
        command("down")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def local_ledger(local: Command) -> Iterator[Connection]:
    """A connection to the local stack's ledger, in autocommit."""
    engine = open_engine(local.ok("up").split()[1], "tests")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection
    engine.dispose()


@pytest.fixture(scope="session")
def cluster_without_worker(
    postgres: str, _broker: str, tmp_path_factory: pytest.TempPathFactory
) -> Command:
    """The command with a migrated database and a broker, without a worker."""
    broker = f"{_broker.rpartition('/')[0]}/{CLUSTER_BROKER_DATABASE}"
    return Command(
        {
            "DATABASE_URL": _new_database(postgres, "fakesweep_test_cluster"),
            "BROKER_URL": broker,
            "HOME": str(tmp_path_factory.mktemp("no-home") / "never-made"),
            "BATCH_IMAGES": "4",
            "CPU_THREADS": "1",
            "LOADERS": "1",
            "S3_ADDRESSING_STYLE": "path",
            "FILE_ROOTS": "/",
        },
        {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "testtest",
            "AWS_DEFAULT_REGION": "us-east-1",
        },
    )


@pytest.fixture(scope="session")
def cluster(
    cluster_without_worker: Command, _s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Command]:
    """The same cluster with one worker, which reaches the S3 server."""
    command = cluster_without_worker.where(S3_ENDPOINT_URL=_s3_server.endpoint_url)
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            command.line("worker", "--device", "cpu", "--model", "vit-tiny-cifake"),
            stdout=output,
            stderr=output,
            env=command.environment,
        )
    try:
        wait_until(lambda: _said(log, worker, "worker_ready"), "the worker is ready", 60)
        yield command
    finally:
        worker.terminate()
        assert worker.wait(60) == 0, log.read_text()


@pytest.fixture
def photographs(tmp_path: Path) -> Photographs:
    """Make a folder of new images."""

    def make(count: int, name: str = "photographs") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / f"{number:04}.jpg").write_bytes(photograph(next(_seeds)))
        return folder

    return make


@pytest.fixture(scope="session")
def base_install(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment without the worker extra."""
    python = make_base_install(tmp_path_factory.mktemp("base") / "venv")
    absent = "import importlib.util as u; assert not any(map(u.find_spec, ('torch', 'PIL')))"
    subprocess.run([python, "-P", "-c", absent], check=True)
    return str(python)


def _new_database(postgres: str, name: str) -> str:
    assert re.fullmatch(r"\w+", name)
    engine = open_engine(postgres, "tests")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            text(f"CREATE DATABASE {name} TEMPLATE fakesweep_test_template STRATEGY FILE_COPY")
        )
    engine.dispose()
    return make_url(postgres).set(database=name).render_as_string(hide_password=False)


def _said(log: Path, process: "subprocess.Popen[bytes]", word: str) -> bool:
    assert process.poll() is None, log.read_text()
    return word in log.read_text()
