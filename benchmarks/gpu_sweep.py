"""A worker's pipeline over files without Celery, into PostgreSQL or else into a file."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Engine, text

from fakesweep.schema.failures import ImageFailure
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.batches.publishing import take_recorded
from fakesweep.schema.ledger.registry.policies import policy_id
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.ledger.scans.listing import end_listing
from fakesweep.schema.ledger.scans.scans import ListedImage, add_scan
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import from_path
from fakesweep.schema.words import Lane
from fakesweep.workers.models.load import LoadedModel, load_model
from fakesweep.workers.models.place import resolve_place
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.pipeline.score_cache import ScoreCache
from fakesweep.workers.process.startup import LOADERS_PER_CORE, open_work
from fakesweep.workers.sandbox.pool import LoaderPool, open_loader_pool
from fakesweep.workers.scoring.device_queue import DeviceQueue
from fakesweep.workers.threads.priority import PriorityThreads
from tests.support.batches import record_batch

CHUNK_IMAGES = 64
UNUSED_BROKER = "redis://nobody-asks-it"

_FORGET = text("""
    TRUNCATE ledger.scans, ledger.images, ledger.contents, ledger.predictions, ledger.outcomes,
        ledger.verdicts CASCADE
""")

Timed = Callable[[Sequence[Path], int], float]
"""Sweeps files with a number of batches in flight; returns the seconds to the last durable row."""


@dataclass(frozen=True)
class Worker:
    """A model in an open worker, and the function that sweeps files into `sink`."""

    model: LoadedModel
    device: DeviceQueue
    sink: str
    sweep: Timed


@dataclass(frozen=True)
class Swept:
    """One sweep: its rate, and the utilisation of its parts.

    `processors_busy` and `device_busy` are shares of the time. `worker_cores` is the number of
    cores used by the worker's own process, with the device's thread and the database's calls;
    near 1 that process is the bottleneck.
    """

    images_per_second: float
    processors_busy: float
    device_busy: float
    worker_cores: float


def measured(worker: Worker, paths: Sequence[Path], in_flight: int) -> Swept:
    """Sweep once, and measure time and utilisation."""
    processors, device, own = _processor_seconds(), worker.device.busy_seconds, time.process_time()
    started = time.perf_counter()
    seconds = worker.sweep(paths, in_flight)
    whole = time.perf_counter() - started  # includes recording before and checks after
    busy, total = (now - then for now, then in zip(_processor_seconds(), processors, strict=True))
    return Swept(
        len(paths) / seconds,
        busy / max(total, 0.01),
        (worker.device.busy_seconds - device) / seconds,
        (time.process_time() - own) / whole,
    )


@contextmanager
def open_with_database(checkpoint: Path, settings: Settings) -> Iterator[Worker]:
    """Open the product's own worker on a private database."""
    with open_work(settings.model_copy(update={"models": (str(checkpoint),)})) as work:
        _, model = work.model_cache.model(str(checkpoint))
        sweep = partial(_into_database, work, model.identity.key)
        yield Worker(model, work.device, "PostgreSQL", sweep)


@contextmanager
def open_with_file(checkpoint: Path, settings: Settings, sink: Path) -> Iterator[Worker]:
    """Open the same loaders and device without a database; rows are lines of JSON."""
    loaders = settings.loaders or LOADERS_PER_CORE * len(os.sched_getaffinity(0))
    entry = read_catalogue(None).model(str(checkpoint))
    place = resolve_place(settings.device, settings.precision)
    with (
        open_loader_pool(settings, loaders) as opened,
        PriorityThreads(loaders).running() as lanes,
        DeviceQueue(settings.device_timeout_seconds).running() as device,
        sink.open("a", encoding="utf-8") as lines,
    ):
        model = load_model(entry, place, decoding=settings.decode)
        files = _Files(settings.batch_images, model, device, opened, lanes, lines)
        yield Worker(model, device, "a file of JSON lines", files.sweep)


def _into_database(work: Work, key: str, paths: Sequence[Path], in_flight: int) -> float:
    fresh = replace(work, score_cache=ScoreCache())
    messages = _record(work.engine, key, paths, work.settings.batch_images)
    started = time.perf_counter()
    with ThreadPoolExecutor(in_flight) as threads:
        for _ in threads.map(lambda message: run_batch(message, fresh), messages):
            pass
    seconds = time.perf_counter() - started
    with work.engine.connect() as connection:
        done = progress(connection, messages[0].scan_id)
    if done.classified != len(paths):
        raise RuntimeError(f"{done.classified} of {len(paths)} images were classified: {done}")
    return seconds


def _record(engine: Engine, key: str, paths: Sequence[Path], size: int) -> list[BatchMessage]:
    """Record a scan as the producer does, into empty tables; return its messages."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(_FORGET)
        connection.exec_driver_sql("CHECKPOINT")
    listed = [ListedImage(from_path(path), str(path)) for path in paths]
    with engine.begin() as connection:
        scan_id = add_scan(
            connection,
            name="gpu",
            lane=Lane.BULK,
            policy_id=policy_id(connection, "default", None),
            model_keys=(key,),
            sources=[("gpu", None)],
        )
        for first in range(0, len(listed), size):
            record_batch(connection, scan_id, 0, listed[first : first + size])
        end_listing(connection, scan_id)
    with engine.begin() as connection:
        return take_recorded(connection, Lane.BULK, len(listed))


@dataclass(frozen=True)
class _Files:
    """Resources of batches whose results go to a file; thread-safe."""

    batch_images: int
    model: LoadedModel
    device: DeviceQueue
    loaders: LoaderPool
    lanes: PriorityThreads
    lines: IO[str]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def sweep(self, paths: Sequence[Path], in_flight: int) -> float:
        """Sweep files; return the seconds to the last durable line."""
        size = self.batch_images
        batches = [paths[first : first + size] for first in range(0, len(paths), size)]
        started = time.perf_counter()
        with ThreadPoolExecutor(in_flight) as threads:
            for _ in threads.map(self._run_batch, batches):
                pass
        return time.perf_counter() - started

    def _run_batch(self, batch: Sequence[Path]) -> None:
        chunks = [
            self.lanes.submit(Lane.BULK, partial(self._load, batch[first : first + CHUNK_IMAGES]))
            for first in range(0, len(batch), CHUNK_IMAGES)
        ]
        rows = [row for chunk in chunks for row in self._rows(*chunk.result())]
        with self.lock:
            self.lines.write("".join(f"{json.dumps(row)}\n" for row in rows))
            self.lines.flush()
            os.fsync(self.lines.fileno())

    def _load(self, chunk: Sequence[Path]) -> tuple[list[dict[str, Any]], Any]:
        """Fetch, hash, decode and resize a chunk; return its rows and the future of its scores."""
        rows: dict[int, dict[str, Any]] = {}
        pixels: dict[int, Any] = {}
        with self.loaders.one() as loader:
            for reply in loader.fetch([from_path(path) for path in chunk]):
                rows[reply["number"]] = {"uri": from_path(chunk[reply["number"]]), **reply}
            steps = [self.model.steps and asdict(self.model.steps)]
            for reply, made in loader.decode(list(rows), steps):
                rows[reply["number"]] |= reply["content"]
                pixels[reply["number"]] = self.model.finish(made[0])
        future = self.device.submit(self.model, list(pixels.values()), Lane.BULK)
        return [rows[number] for number in pixels], future

    @staticmethod
    def _rows(rows: list[dict[str, Any]], future: Any) -> Iterator[dict[str, Any]]:
        for row, said in zip(rows, future.result(), strict=True):
            yield {**row, "scores": None if isinstance(said, ImageFailure) else said}


def _processor_seconds() -> tuple[float, float]:
    """Return the busy and the total seconds of the machine's processors since boot."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    ticks = list(map(float, words))
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)
