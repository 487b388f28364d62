"""Cluster under test: real servers, workers and producers on this machine, for one run."""

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2

from fakesweep.stack.processes import wait_for
from tests.chaos.broker import Broker
from tests.chaos.clocks import clear_leftovers, clock_apart
from tests.chaos.ledger import Ledger
from tests.chaos.postgres import UNDISTURBED, Postgres
from tests.chaos.processes import MARK, Supervised, python
from tests.chaos.reaper import reaped
from tests.chaos.storage import Storage, open_storage

MODEL = "vit-tiny-cifake"
WINDOW_BATCHES = 10
LEASE_SECONDS = 6
REFUSAL_SECONDS = 4
GRACE_SECONDS = 5
FETCH_TIMEOUT_SECONDS = 2
FETCH_DEADLINE_SECONDS = 20
LIST_TIMEOUT_SECONDS = 5
BATCH_IMAGES = 8

SETTINGS = {
    "BATCH_IMAGES": BATCH_IMAGES,
    "WINDOW_BATCHES": WINDOW_BATCHES,
    "LEASE_SECONDS": LEASE_SECONDS,
    "REFUSAL_SECONDS": REFUSAL_SECONDS,
    "GRACE_SECONDS": GRACE_SECONDS,
    "BATCHES_IN_FLIGHT": 2,
    "LOADERS": 2,
    "CPU_THREADS": 1,
    "FETCH_CONCURRENCY": 1,
    "FETCH_ATTEMPTS": 12,
    "FETCH_TIMEOUT_SECONDS": FETCH_TIMEOUT_SECONDS,
    "FETCH_DEADLINE_SECONDS": FETCH_DEADLINE_SECONDS,
    "LIST_TIMEOUT_SECONDS": LIST_TIMEOUT_SECONDS,
    "DECODE_TIMEOUT_SECONDS": 10,
    "S3_ADDRESSING_STYLE": "path",
    "LOG_FORMAT": "json",
}
_STORAGE_ACCESS = {
    "AWS_ACCESS_KEY_ID": "chaos",
    "AWS_SECRET_ACCESS_KEY": "chaos",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_COMMAND_SECONDS = 60.0
_ASK_SECONDS = 90.0
_READY_SECONDS = 120


class NoScan(Exception):  # noqa: N818 -- named by what is missing
    """Each attempt to request a scan was refused."""


@dataclass(frozen=True)
class Size:
    """Size of a cluster and its work."""

    seed: int = 1
    workers: int = 3
    producers: int = 2
    prefix_images: int = 200
    poison: int = 0
    apart_seconds: int = 0


@dataclass
class Cluster:
    """All servers and processes; the target of faults."""

    size: Size
    folder: Path
    postgres: Postgres
    broker: Broker
    storage: Storage
    ledger: Ledger
    workers: list[Supervised] = field(default_factory=list)
    producers: list[Supervised] = field(default_factory=list)
    scanned: set[str] = field(default_factory=set)
    _asking: threading.Lock = field(default_factory=threading.Lock)

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def everybody(self) -> Sequence[Supervised]:
        return (*self.workers, *self.producers)

    def environment(self, **changes: str) -> dict[str, str]:
        """Return a process' environment in the cluster, with changed settings."""
        settings = {
            **SETTINGS,
            "DATABASE_URL": self.postgres.url(),
            "BROKER_URL": self.broker.url(),
            "S3_ENDPOINT_URL": self.storage.proxy_url,
            "FILE_ROOTS": self.folder,
            "HOME": self.folder / "never-made",
            **changes,
        }
        return _bare_environment(self.folder) | {
            f"FAKESWEEP_{name}": str(value) for name, value in settings.items()
        }

    def run(
        self, *words: str, seconds: float = _COMMAND_SECONDS, **changes: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run the command to its end; any exit status is accepted."""
        return subprocess.run(
            python("fakesweep", *words),
            check=False,
            capture_output=True,
            text=True,
            env=self.environment(**changes),
            timeout=seconds,
        )

    def ask_for_scan(self, prefix: str, **changes: str) -> int:
        """Request a scan of a prefix, with retries while another fault prevents it.

        Raises:
            NoScan: the command still fails.
        """
        words = ("scan", prefix, "--model", MODEL, "--detach", "--json")
        give_up = time.monotonic() + _ASK_SECONDS
        while (done := self.run(*words, **changes)).returncode:  # type: ignore[arg-type] # settings only
            if time.monotonic() > give_up:
                raise NoScan(done.stderr.strip())
        self.scanned.add(prefix)
        return int(json.loads(done.stdout)["scan_id"])

    def scan_next(self) -> int:
        """Request a scan of new photographs."""
        with self._asking:
            left = [prefix for prefix in self.storage.prefixes if prefix not in self.scanned]
            return self.ask_for_scan(left[0] if left else self.storage.add_prefix())


@contextmanager
def running_cluster(size: Size, say: Callable[[str], None]) -> Iterator[Cluster]:
    """Start the cluster, and end all of its processes with the context."""
    folder = Path(tempfile.mkdtemp(prefix="fs-chaos-", dir="/tmp"))
    folder.chmod(0o711)
    (folder / "logs").mkdir()
    with ExitStack() as stack:
        stack.callback(clear_leftovers)
        stack.enter_context(reaped(folder))
        postgres, broker = Postgres(folder), Broker(folder)
        stack.callback(postgres.end)
        postgres.make()
        stack.callback(broker.kill)
        broker.start()
        storage = stack.enter_context(open_storage(folder, size.seed, size.prefix_images))
        cluster = Cluster(size, folder, postgres, broker, storage, Ledger(postgres))
        storage.add_prefix()
        _migrate(cluster)
        stack.callback(_stop, cluster)
        _start(cluster)
        say(f"everything lies in {folder}")
        yield cluster


@contextmanager
def lone_worker(cluster: Cluster) -> Iterator[Mapping[str, str]]:
    """Run one worker on another database of the same servers; yield its settings."""
    changes = {
        "DATABASE_URL": cluster.postgres.url(UNDISTURBED),
        "BROKER_URL": cluster.broker.url(1),
        "S3_ENDPOINT_URL": cluster.storage.server.endpoint_url,
    }
    command = python("fakesweep", "worker", "--device", "cpu", "--model", MODEL)
    worker = Supervised("undisturbed", command, cluster.environment(**changes), cluster.logs)
    worker.start()
    try:
        yield changes
    finally:
        worker.stop()


def _migrate(cluster: Cluster) -> None:
    for url in (cluster.postgres.url(), cluster.postgres.url(UNDISTURBED)):
        done = cluster.run("db", "upgrade", DATABASE_URL=url)
        if done.returncode:
            raise RuntimeError(done.stderr)


def _start(cluster: Cluster) -> None:
    size, worker = cluster.size, ["worker", "--device", "cpu", "--model", MODEL]
    module, environment = "fakesweep", cluster.environment()
    if size.poison:
        module = "tests.chaos.poisoned_worker"
        marked = (cluster.storage.digests[uri] for uri in cluster.storage.marked(size.poison))
        environment |= {"CHAOS_POISON": ",".join(marked)}
    clocks = [size.apart_seconds, -size.apart_seconds, 0]
    for number in range(size.workers):
        apart = clock_apart(clocks[number % len(clocks)])
        cluster.workers.append(
            Supervised(
                f"worker-{number}", python(module, *worker), environment | apart, cluster.logs
            )
        )
    for number in range(size.producers):
        apart = clock_apart(clocks[(number + 1) % len(clocks)])
        cluster.producers.append(
            Supervised(
                f"producer-{number}",
                python("fakesweep", "producer"),
                cluster.environment() | apart,
                cluster.logs,
            )
        )
    for one in cluster.everybody:
        one.start()
    if not wait_for(lambda: _workers_seen(cluster) >= size.workers, _READY_SECONDS):
        said = [death for one in cluster.everybody for death in one.deaths]
        raise RuntimeError(f"the workers do not start: {said}")


def _workers_seen(cluster: Cluster) -> int:
    try:
        [(seen,)] = cluster.ledger.ask("SELECT count(DISTINCT worker_id) FROM ledger.model_loads")
    except psycopg2.Error:
        return 0
    return int(seen)


def _stop(cluster: Cluster) -> None:
    stopping = [threading.Thread(target=one.stop) for one in cluster.everybody]
    for thread in stopping:
        thread.start()
    for thread in stopping:
        thread.join()


def _bare_environment(folder: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FAKESWEEP_", "AWS_"))
    }
    return kept | _STORAGE_ACCESS | {"PYTHONPATH": str(Path.cwd()), MARK: str(folder)}
