"""Listing rate of a producer, and comparison rate of an audit, in objects a second.

`fakesweep.producer.listing.scan` lists a large bucket into PostgreSQL: first unknown, then
unchanged since it was judged. The producer's threads share one core; the stand-in for S3 and
PostgreSQL have the others.
"""

import argparse
import json
import logging
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import structlog
from sqlalchemy import Engine, text

from benchmarks import bucket
from benchmarks.machine import REPOSITORY, describe
from benchmarks.servers import Stack, fresh_stack

_JUDGED = """
    INSERT INTO ledger.contents (sha256, size_bytes, width, height, format, frame_count)
        SELECT sha256(int8send(image_id)), size_bytes, 1024, 768, 'JPEG', 1
        FROM ledger.images WHERE scan_id = :scan_id;
    INSERT INTO ledger.outcomes (image_id, scan_id, status, content_id)
        SELECT i.image_id, i.scan_id, 'classified', c.content_id
        FROM ledger.images i JOIN ledger.contents c ON c.sha256 = sha256(int8send(i.image_id))
        WHERE i.scan_id = :scan_id;
    INSERT INTO ledger.verdicts
        (image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict)
        SELECT o.image_id, :model_id, o.scan_id, o.content_id, s.policy_id, 0.1, 'real'
        FROM ledger.outcomes o JOIN ledger.scans s USING (scan_id) WHERE o.scan_id = :scan_id;
    UPDATE ledger.batches SET state = 'done', classified_count = image_count, finished_at = now()
        WHERE scan_id = :scan_id;
"""


@dataclass(frozen=True)
class Pass:
    """One listing of the whole bucket by a separate process."""

    what: str
    objects: int
    seconds: float
    processor_seconds: float
    peak_mib: float

    @property
    def a_second(self) -> float:
        """Objects a second of wall time."""
        return self.objects / self.seconds


def main() -> None:
    """Measure, print a table, and write JSON on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3, help="audits of the unchanged bucket")
    parser.add_argument("--json", help="file to write the figures to")
    asked = parser.parse_args()
    machine = describe()
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average'][0]}")
    with fresh_stack() as stack, _bucket(asked.objects) as port:
        passes = [_first(stack, port)]
        passes += [_listed(stack, port, "unchanged", asked.objects) for _ in range(asked.repeats)]
    for one in passes:
        print(
            f"{one.what:<10} {one.objects:>10,} objects in {one.seconds:7.1f} s = "
            f"{one.a_second:>9,.0f} a second; processor {one.processor_seconds:.1f} s, "
            f"peak {one.peak_mib:.0f} MiB",
            flush=True,
        )
    rates = [one.a_second for one in passes[1:]]
    print(f"compared: median {statistics.median(rates):,.0f} a second "
          f"({min(rates):,.0f}-{max(rates):,.0f})")  # fmt: skip
    if asked.json:
        with open(asked.json, "w", encoding="utf-8") as file:  # noqa: PTH123 - a plain file
            json.dump({"machine": machine, "passes": [asdict(one) for one in passes]}, file)


@contextmanager
def _bucket(objects: int) -> Iterator[int]:
    words = [sys.executable, "-P", "-m", "benchmarks.bucket", str(objects)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline())
        finally:
            server.terminate()


def _first(stack: Stack, port: int) -> Pass:
    """List an unknown bucket, and mark everything in it as judged."""
    done = _listed(stack, port, "recorded", None)
    engine = _engine(stack)
    with engine.begin() as connection:
        model_id = connection.execute(text(
            "INSERT INTO ledger.models (key, source, revision, fingerprint, architecture, "
            "preprocessing, labels, sides, sides_origin) VALUES ('vit-tiny-cifake', 's', 'r', "
            "'f', 'ViT', '{}', '{real,fake}', '{real,fake}', 'names') RETURNING model_id"
        )).scalar_one()  # fmt: skip
        scan_id = connection.execute(text("SELECT max(scan_id) FROM ledger.scans")).scalar_one()
        for statement in filter(str.strip, _JUDGED.split(";\n")):
            connection.execute(text(statement), {"scan_id": scan_id, "model_id": model_id})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()
    return done


def _listed(stack: Stack, port: int, what: str, expected: int | None) -> Pass:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_list, args=(stack, port, what, answers))
    process.start()
    found: Pass = answers.get()
    process.join()
    if expected is not None and found.objects != expected:
        raise RuntimeError(f"{found.objects} of {expected} objects were found unchanged")
    return found


def _list(stack: Stack, port: int, what: str, answers: "multiprocessing.Queue[Pass]") -> None:
    """List the bucket as an audit, in this process on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for name in [name for name in os.environ if name.startswith(("AWS_", "FAKESWEEP_"))]:
        del os.environ[name]
    os.environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    os.environ |= {"AWS_DEFAULT_REGION": "us-east-1"}
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    from fakesweep.producer.listing.scan import list_scan  # noqa: PLC0415 - after the environment is clean
    from fakesweep.producer.resources import open_producer  # noqa: PLC0415
    from fakesweep.producer.scans import ScanRequest, add_scan  # noqa: PLC0415
    from fakesweep.schema.judging.catalogue import read_catalogue  # noqa: PLC0415
    from fakesweep.schema.settings import Settings  # noqa: PLC0415
    from fakesweep.schema.words import Lane  # noqa: PLC0415

    settings = Settings(
        database_url=stack.database_url,
        broker_url=stack.broker_url,
        s3_endpoint_url=f"http://127.0.0.1:{port}",
        s3_addressing_style="path",
    )
    request = ScanRequest(
        (f"s3://{bucket.NAME}/photos/",), ("vit-tiny-cifake",), Lane.BULK, "default", is_audit=True
    )
    with open_producer(settings, read_catalogue(None)) as producer:
        scan_id = add_scan(producer, request)
        began, used = time.monotonic(), time.process_time()
        list_scan(producer, scan_id, threading.Event())
        seconds, processor = time.monotonic() - began, time.process_time() - used
        with producer.engine.connect() as connection:
            row = connection.execute(
                text("SELECT submitted + unchanged AS objects, unchanged FROM scan_progress "
                     "WHERE scan_id = :scan_id"), {"scan_id": scan_id},
            ).one()  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    counted = row.unchanged if what == "unchanged" else row.objects
    answers.put(Pass(what, int(counted), seconds, processor, peak))


def _engine(stack: Stack) -> Engine:
    from fakesweep.schema.ledger.connection import open_engine  # noqa: PLC0415

    return open_engine(stack.database_url, "benchmark")


if __name__ == "__main__":
    main()
