"""Window: Redis and the producer stay small, and a killed producer resumes."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, text

from fakesweep.producer import feeder
from fakesweep.producer.feeder import publish_recorded, reconcile
from fakesweep.producer.listing.scan import list_scan
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.scans import ScanRequest, add_scan
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.scans.listing import MAX_BATCH_URI_BYTES
from fakesweep.schema.ledger.scans.scans import scans_to_list
from fakesweep.schema.settings import PREFIX, Settings
from fakesweep.schema.uris import MAX_URI_BYTES
from fakesweep.schema.words import SCAN_LANES, Lane
from tests.support.servers import broker_server, wait_until

MIB = 1024**2
MOST_REDIS_BYTES = 64 * MIB
MOST_GROWTH_BYTES = 30 * MIB

_BATCHES = "SELECT count(*) FROM ledger.batches"
_PUBLISHED = "SELECT count(*) FROM ledger.batches WHERE state = 'published'"
_PRODUCERS = "SELECT count(*) FROM ledger.producers"

LETTERS = {"plain": "x", "accented": "é", "wide": "\N{FACE WITH TEARS OF JOY}", "control": "\x07"}


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(database_url=database_url, broker_url=broker_url)


@pytest.fixture
def producer(settings: Settings) -> Iterator[Producer]:
    with open_producer(settings, read_catalogue(None)) as opened:
        yield opened
    with redis.Redis.from_url(settings.broker_url or "") as client:
        client.flushdb()


def _manifest(path: Path, uris: Iterator[str]) -> Path:
    path.write_text("".join(f"{uri}\n" for uri in uris))
    return path


def _ask(producer: Producer, manifest: Path, lane: Lane = Lane.BULK) -> int:
    request = ScanRequest((str(manifest),), ("vit-tiny-cifake",), lane, "default")
    return add_scan(producer, request)


def _one(engine: Engine, sql: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(sql)).scalar_one())


def _used_bytes(producer: Producer) -> int:
    with redis.Redis.from_url(producer.settings.broker_url or "") as client:
        return int(client.info("memory")["used_memory"])


def _long_uris(letter: str, count: int) -> Iterator[str]:
    """Yield URIs of maximal length, mostly of one letter."""
    for number in range(count):
        start = f"s3://photos/{number:06}/"
        yield start + letter * ((MAX_URI_BYTES - len(start)) // len(letter.encode()))


@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS.keys())
def test_redis_stays_small_while_every_lane_is_full_of_the_longest_uris(
    producer: Producer, tmp_path: Path, letter: str
) -> None:
    empty = _used_bytes(producer)
    for lane in SCAN_LANES:
        scan_id = _ask(
            producer, _manifest(tmp_path / f"{lane}.txt", _long_uris(letter, 1_500)), lane
        )
        assert list_scan(producer, scan_id, threading.Event())
    for _ in range(3):
        publish_recorded(producer)
    waiting = [len(producer.publisher.waiting_batches(lane)) for lane in SCAN_LANES]
    assert waiting == [64, 64]
    lane_bytes = (_used_bytes(producer) - empty) / len(SCAN_LANES)
    assert lane_bytes * len(Lane) < MOST_REDIS_BYTES


def test_short_uris_fill_a_batch_and_long_ones_do_not(
    producer: Producer, engine: Engine, tmp_path: Path
) -> None:
    short = (f"s3://photos/{number}.jpg" for number in range(600))
    list_scan(producer, _ask(producer, _manifest(tmp_path / "a.txt", short)), threading.Event())
    assert _one(engine, "SELECT max(image_count) FROM ledger.batches") == 256
    assert _one(engine, "SELECT count(*) FROM ledger.batches") == 3
    long = _long_uris("x", 600)
    scan_id = _ask(producer, _manifest(tmp_path / "b.txt", long))
    list_scan(producer, scan_id, threading.Event())
    largest = f"SELECT max(image_count) FROM ledger.batches WHERE scan_id = {scan_id}"
    assert _one(engine, largest) <= MAX_BATCH_URI_BYTES // 2_000 + 1
    assert _one(engine, "SELECT sum(image_count) FROM ledger.batches") == 1_200


def test_the_producers_memory_is_independent_of_a_lists_length(
    producer: Producer, engine: Engine, tmp_path: Path
) -> None:
    def listed(count: int) -> int:
        """List a manifest; return the peak memory in bytes."""
        uris = (f"s3://photos/{count}/{number:09}.jpg" for number in range(count))
        scan_id = _ask(producer, _manifest(tmp_path / f"{count}.txt", uris))
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        assert list_scan(producer, scan_id, threading.Event())
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    warm = listed(2_000)
    assert listed(100_000) - warm < MOST_GROWTH_BYTES
    assert _one(engine, "SELECT count(*) FROM ledger.images") == 102_000


@contextmanager
def _producer_process(settings: Settings, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    told = {
        "DATABASE_URL": settings.database_url or "", "BROKER_URL": settings.broker_url or "",
        "BATCH_IMAGES": str(settings.batch_images), "WINDOW_BATCHES": str(settings.window_batches),
    }  # fmt: skip
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fakesweep", "producer"],
            stdout=output,
            stderr=output,
            env=own | {f"{PREFIX}{name}": value for name, value in told.items()},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _await_more_batches(engine: Engine, more: int) -> None:
    before = _one(engine, _BATCHES)
    wait_until(lambda: _one(engine, _BATCHES) >= before + more, "more are recorded")


def _finish(producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconcile and publish until all recorded batches are queued."""
    monkeypatch.setattr(feeder, "LOST_AFTER_SECONDS", 0.0)
    with producer.engine.connect() as connection:
        scans = scans_to_list(connection, socket.gethostname())
    for scan_id in scans:
        assert list_scan(producer, scan_id, threading.Event())
    reconcile(producer)
    publish_recorded(producer)


def _check_listed_once(producer: Producer, images: int) -> None:
    engine = producer.engine
    assert _one(engine, "SELECT count(*) FROM ledger.images") == images
    assert _one(engine, "SELECT count(DISTINCT uri) FROM ledger.images") == images
    assert _one(engine, "SELECT sum(image_count) FROM ledger.batches") == images
    assert _one(engine, "SELECT count(*) FROM ledger.scans WHERE listed_at IS NULL") == 0
    with engine.connect() as connection:
        batches = set(connection.execute(text("SELECT batch_id FROM ledger.batches")).scalars())
    assert producer.publisher.waiting_batches(Lane.BULK) == batches


@pytest.fixture
def small_batches(settings: Settings) -> Settings:
    return settings.model_copy(update={"batch_images": 4, "window_batches": 10_000})


def test_a_producer_killed_at_any_moment_of_its_listing_skips_and_doubles_nothing(
    small_batches: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = random.Random(4)
    own = small_batches.model_copy(update={"batch_images": 100})
    manifest = _manifest(tmp_path / "many.txt", (f"s3://photos/{n}.jpg" for n in range(60_000)))
    with open_producer(own, read_catalogue(None)) as producer:
        _ask(producer, manifest)
        for _ in range(5):
            with _producer_process(own, tmp_path / "producer.log"):
                _await_more_batches(producer.engine, moments.randint(1, 60))
        assert _one(producer.engine, _BATCHES) < 600, "it was killed before the end"
        _finish(producer, monkeypatch)
        _check_listed_once(producer, 60_000)


def test_a_producer_killed_between_commit_and_publish_leaves_nothing_unpublished(
    small_batches: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = _manifest(tmp_path / "some.txt", (f"s3://photos/{n}.jpg" for n in range(400)))
    with broker_server() as url:
        own = small_batches.model_copy(update={"broker_url": url})
        with redis.Redis.from_url(url) as client:
            broker_pid = int(client.info("server")["process_id"])
        with open_producer(own, read_catalogue(None)) as producer:
            try:
                with _producer_process(own, tmp_path / "producer.log"):
                    wait_until(lambda: _one(producer.engine, _PRODUCERS) > 0, "it is at work")
                    os.kill(broker_pid, signal.SIGSTOP)
                    _ask(producer, manifest)
                    wait_until(lambda: _one(producer.engine, _PUBLISHED) > 0, "some are committed")
            finally:
                os.kill(broker_pid, signal.SIGCONT)
            committed = _one(producer.engine, _PUBLISHED)
            assert len(producer.publisher.waiting_batches(Lane.BULK)) < committed
            _finish(producer, monkeypatch)
            _check_listed_once(producer, 400)
