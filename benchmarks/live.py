"""Latency of uploads, on an idle system and during a bulk scan that uses all cores.

Uploads arrive one by one at random times through `fakesweep.producer.uploads`. The clock of each
stops when its row is readable.
"""

import argparse
import math
import random
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, text

from benchmarks.checkpoints import Name, make_checkpoint
from benchmarks.corpus import Corpus, make_corpus
from benchmarks.servers import Stack, command, end, fresh_stack, wait_until
from fakesweep.producer.resources import open_producer
from fakesweep.producer.uploads import Upload, Uploads
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import from_path

GOAL = 3.0
"""Goal: largest ratio of the 95th percentiles, during a bulk scan to idle."""

PER_SECOND = 8.0
READY_SECONDS = 300.0
LOOK_SECONDS = 0.005
LONGEST_SECONDS = 120.0
WARM_UP = 10
FIRST_IMAGES = 300
"""Images that the bulk scan finishes before the uploads start."""

SLACK = 1.5
"""Safety factor on the length of a bulk scan that was too short."""

MOST_IMAGES = 60_000

_ENDED = text("SELECT image_id FROM ledger.outcomes WHERE image_id = ANY(:waiting)")

_BULK = text("""
    SELECT coalesce(sum(b.image_count), 0) AS images,
           coalesce(sum(b.classified_count + b.reused_count + b.failed_count), 0) AS ended
    FROM ledger.batches b WHERE b.lane = 'bulk'
""")


@dataclass(frozen=True)
class Plan:
    """Plan of a round: the uploads in each half, and the images of the bulk scan."""

    checkpoint: Path
    bulk: Path
    uploads: Sequence[Path]


@dataclass(frozen=True)
class Round:
    """Seconds from submission to the row, idle and during a bulk scan that outlasted the uploads.

    `bulk_per_second` is that scan's rate during the uploads.
    """

    idle: Sequence[float]
    busy: Sequence[float]
    bulk_per_second: float

    @property
    def ratio(self) -> float:
        """Ratio of the 95th percentiles, during the scan to idle."""
        return p95(self.busy) / p95(self.idle)


def p95(seconds: Sequence[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(seconds, n=20)[-1]


def prepare(name: Name, images: int, uploads: int, folder: Path) -> Plan:
    """Make missing photographs and the checkpoint below a folder."""
    own = Corpus(2 * (uploads + WARM_UP), truncated_percent=0, duplicate_percent=0, seed=2)
    return Plan(
        make_checkpoint(name, folder / "checkpoints"),
        _bulk_of(images, folder),
        sorted(make_corpus(own, folder / "corpora").iterdir()),
    )


class BulkTooShortError(Exception):
    """The bulk scan ended before the uploads; `images` would have lasted."""

    def __init__(self, images: int) -> None:
        super().__init__(f"the bulk scan ended before the uploads did; {images} images would last")
        self.images = images


def rounds(plan: Plan, folder: Path, repeats: int) -> Iterator[Round]:
    """Run rounds; a bulk scan that ends before the uploads is lengthened.

    Raises:
        RuntimeError: a process ended early, an upload got no row, or no bulk scan of up to
            `MOST_IMAGES` lasts.
    """
    done = 0
    while done < repeats:
        try:
            yield measure(plan, {})
        except BulkTooShortError as error:
            if error.images > MOST_IMAGES:
                raise RuntimeError(str(error)) from error
            plan = replace(plan, bulk=_bulk_of(error.images, folder))
        else:
            done += 1


def measure(plan: Plan, settings: Mapping[str, str]) -> Round:
    """Run one round on fresh servers, with a worker and a producer's service.

    Raises:
        BulkTooShortError: the bulk scan did not last.
        RuntimeError: a process ended early, or an upload got no row.
    """
    with fresh_stack() as stack:
        environment = stack.environment({"MODELS": str(plan.checkpoint), **settings})
        with (
            _running(stack, environment, "worker", "worker_ready"),
            _running(stack, environment, "producer", ""),
        ):
            return _round(plan, stack, environment)


def line(done: Sequence[Round]) -> str:
    """Return a line with the rounds' results in milliseconds."""
    idle = [1_000 * p95(one.idle) for one in done]
    busy = [1_000 * p95(one.busy) for one in done]
    middle = statistics.median(one.ratio for one in done)
    bulk = statistics.median(one.bulk_per_second for one in done)
    each = ", ".join(f"{one.ratio:.2f}" for one in done)
    return (
        f"idle  median {_middle([one.idle for one in done])}, p95 {_spread(idle)}\n"
        f"busy  median {_middle([one.busy for one in done])}, p95 {_spread(busy)}, beside "
        f"{bulk:.1f} images/s\n"
        f"p95 beside a bulk scan is {middle:.2f} x that of an idle system ({each}); "
        f"wanted at most {GOAL:g} x: {'met' if middle <= GOAL else 'NOT met'}"
    )


def main() -> None:
    """Measure some rounds and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=3)
    add("--uploads", type=int, default=120, help="in each half of a round")
    add("--images", type=int, default=6_000, help="of the bulk scan")
    add("--model", default="tiny", choices=["null", "tiny", "vit-b"])
    add("--folder", type=Path, default=Path("~/.cache/fakesweep-bench"))
    asked = parser.parse_args()
    folder = asked.folder.expanduser().resolve()
    plan = prepare(asked.model, asked.images, asked.uploads, folder)
    done = []
    for one in rounds(plan, folder, asked.rounds):
        done.append(one)
        print(line([one]), flush=True)
    print(f"\n{asked.model}, all rounds", line(done), sep="\n")


def as_json(done: Sequence[Round]) -> dict[str, object]:
    """Return the rounds as JSON values."""
    return {
        "rounds": [asdict(one) for one in done],
        "idle_p95_seconds": statistics.median(p95(one.idle) for one in done),
        "busy_p95_seconds": statistics.median(p95(one.busy) for one in done),
        "ratio": statistics.median(one.ratio for one in done),
        "wanted_at_most": GOAL,
    }


def _round(plan: Plan, stack: Stack, environment: Mapping[str, str]) -> Round:
    half = len(plan.uploads) // 2
    settings = Settings(
        database_url=stack.database_url,
        broker_url=stack.broker_url,
        models=(str(plan.checkpoint),),
    )
    engine = open_engine(stack.database_url, "bench", pool_size=2)
    try:
        with (
            open_producer(settings, read_catalogue(None)) as producer,
            Uploads(producer) as uploads,
        ):
            idle = _seconds_to_rows(uploads, engine, plan.uploads[:half])
            words = ["scan", str(plan.bulk), "--model", str(plan.checkpoint), "--detach"]
            subprocess.run(command(*words), env=environment, check=True, capture_output=True)
            _wait_for_bulk(engine, FIRST_IMAGES)
            before, begun = _bulk(engine), time.monotonic()
            busy = _seconds_to_rows(uploads, engine, plan.uploads[half:])
            after, took = _bulk(engine), time.monotonic() - begun
    finally:
        engine.dispose()
    per_second = (after.ended - before.ended) / took
    if after.ended == after.images:
        raise BulkTooShortError(_images_that_last(after.images, per_second, took))
    return Round(idle, busy, per_second)


def _images_that_last(images: int, per_second: float, seconds: float) -> int:
    """Return the images of a scan that lasts, rounded up to thousands; `images` were too few."""
    wanted = SLACK * max(images, FIRST_IMAGES + per_second * seconds)
    return math.ceil(wanted / 1_000) * 1_000


def _bulk_of(images: int, folder: Path) -> Path:
    recipe = Corpus(images, truncated_percent=0, duplicate_percent=0)
    return make_corpus(recipe, folder / "corpora")


def _seconds_to_rows(uploads: Uploads, engine: Engine, paths: Sequence[Path]) -> list[float]:
    """Submit images at random times; return the seconds of each except the first few."""
    moments = random.Random(len(paths))
    watch = _Watch(engine)
    with ThreadPoolExecutor(32) as threads, watch.running():
        for path in paths:
            threads.submit(watch.hand_in, uploads, path)
            time.sleep(moments.expovariate(PER_SECOND))
        watch.wait(len(paths))
    return watch.seconds[WARM_UP:]


class _Watch:
    """Polls for the uploads' rows every few milliseconds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[int, tuple[int, float]] = {}
        self._found: dict[int, float] = {}
        self._numbers = iter(range(1_000_000))
        self._lock = threading.Lock()
        self._stop = threading.Event()

    @property
    def seconds(self) -> list[float]:
        """Seconds of each upload, in order."""
        return [self._found[number] for number in sorted(self._found)]

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def hand_in(self, uploads: Uploads, path: Path) -> None:
        with self._lock:
            number = next(self._numbers)
        begun = time.monotonic()
        (image_id,) = uploads.submit([Upload(from_path(path))]).image_ids
        self._waiting[image_id] = (number, begun)

    def wait(self, uploads: int) -> None:
        deadline = time.monotonic() + LONGEST_SECONDS
        while len(self._found) < uploads:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{uploads - len(self._found)} uploads got no row")
            time.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not self._stop.wait(LOOK_SECONDS):
                self._note(connection)

    def _note(self, connection: Connection) -> None:
        waiting = list(self._waiting)
        if not waiting:
            return
        for image_id in connection.execute(_ENDED, {"waiting": waiting}).scalars().all():
            number, begun = self._waiting.pop(image_id)
            self._found[number] = time.monotonic() - begun


def _wait_for_bulk(engine: Engine, images: int) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while _bulk(engine).ended < images:
        if time.monotonic() > deadline:
            raise RuntimeError("the bulk scan does not move")
        time.sleep(0.1)


def _bulk(engine: Engine) -> Row[Any]:
    """Return the bulk lane's number of `images`, and of `ended` ones."""
    with engine.connect() as connection:
        return connection.execute(_BULK).one()


@contextmanager
def _running(stack: Stack, environment: Mapping[str, str], word: str, ready: str) -> Iterator[None]:
    log = stack.home / f"{word}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command(word), stdout=output, stderr=output, env=environment)
    try:
        wait_until(lambda: ready.encode() in log.read_bytes(), process, log, READY_SECONDS)
        yield
    finally:
        end(process)


def _middle(halves: Sequence[Sequence[float]]) -> str:
    return f"{1_000 * statistics.median(seconds for half in halves for seconds in half):.0f} ms"


def _spread(milliseconds: Sequence[float]) -> str:
    return (
        f"{statistics.median(milliseconds):.0f} ms "
        f"({min(milliseconds):.0f} to {max(milliseconds):.0f})"
    )


if __name__ == "__main__":
    main()
