"""Audits of real sources: known images are not fetched, and none is skipped or doubled."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fakesweep.producer.feeder import publish_recorded, reconcile
from fakesweep.producer.listing import parallel, scan
from fakesweep.producer.listing.scan import list_scan
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.scans import ScanRequest, add_scan
from fakesweep.producer.sources.s3 import prefix as s3_source
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.selection import Selection
from fakesweep.schema.settings import Settings, read_settings
from fakesweep.schema.words import Lane
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.process.startup import open_work
from tests.integration.ledger.rows import run, take, tuples, value
from tests.support.batches import result_rows
from tests.support.killed_producers import kill_amid_listing
from tests.support.photographs import photograph
from tests.support.servers import S3Server

REPOSITORY = Path(__file__).resolve().parents[2]
OBJECTS = 40_000


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url=broker_url,
        batch_images=16,
        file_roots=(Path("/"),),
        device="cpu",
        loaders=1,
    )


@pytest.fixture
def producer(settings: Settings) -> Iterator[Producer]:
    with open_producer(settings, read_catalogue(None)) as opened:
        yield opened


def ask(producer: Producer, source: str, **choices: object) -> int:
    request = ScanRequest(
        (source,), ("vit-tiny-cifake",), Lane.BULK, "default", is_audit=True,
        selection=Selection(**choices),  # type: ignore[arg-type]  # keywords by name
    )  # fmt: skip
    return add_scan(producer, request)


def audited(producer: Producer, settings: Settings, source: str, **choices: object) -> int:
    """Run an audit to its end, with a worker's pipeline."""
    scan_id = ask(producer, source, **choices)
    assert list_scan(producer, scan_id, threading.Event())
    with open_work(settings) as work:
        while messages := take(producer.engine):
            for message in messages:
                run_batch(message, work)
            reconcile(producer)
    return scan_id


def changes(engine: Engine, scan_id: int) -> tuple[int | None, ...]:
    query = """
        SELECT unchanged, new, changed, again, vanished, failed FROM scan_progress
        WHERE scan_id = :id AND state = 'finished'
    """
    [row] = tuples(engine, query, id=scan_id)
    return row


def write(path: Path, content: bytes, when: int = 1_700_000_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (when, when))


def test_a_second_audit_looks_at_new_and_changed_files_alone(
    producer: Producer, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    for name in "abc":
        write(folder / f"{name}.jpg", photograph(ord(name)))
    first = audited(producer, settings, str(folder))
    assert changes(producer.engine, first) == (0, 3, 0, 0, None, 0)
    write(folder / "b.jpg", photograph(1), when=1_700_000_001)
    write(folder / "d.jpg", photograph(2))
    (folder / "c.jpg").unlink()
    second = audited(producer, settings, str(folder))
    assert changes(producer.engine, second) == (1, 1, 1, 0, 1, 0)
    rows = result_rows(producer.engine, second)
    assert [str(row["uri"]).rpartition("/")[2] for row in rows] == ["b.jpg", "d.jpg"]


def test_by_a_new_revision_the_copies_of_a_content_are_not_fetched(
    producer: Producer, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    copy, other = photograph(1), photograph(2)
    for name in ("a", "b", "c"):
        write(folder / f"{name}.jpg", copy)
    write(folder / "x.jpg", other)
    audited(producer, settings, str(folder))
    run(producer.engine, "UPDATE ledger.models SET revision = 'before', superseded_at = now()")
    for name in ("b", "c"):  # a fetch of these finds no image
        write(folder / f"{name}.jpg", b"\0" * len(copy))
    again = audited(producer, settings, str(folder))
    # No worker had loaded the new revision at listing time, so all images are fetched.
    assert changes(producer.engine, again) == (0, 0, 0, 4, 0, 0)
    statuses = {
        str(row["uri"]).rpartition("/")[2]: row["status"]
        for row in result_rows(producer.engine, again)
    }
    assert statuses == {
        "a.jpg": "classified", "b.jpg": "reused", "c.jpg": "reused", "x.jpg": "classified",
    }  # fmt: skip


def test_by_another_policy_nothing_is_fetched(
    producer: Producer, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    content = photograph(1)
    write(folder / "a.jpg", content)
    audited(producer, settings, str(folder))
    write(folder / "a.jpg", b"\0" * len(content))
    run(producer.engine, "SELECT set_policy('default', 0.1, 0.9)")
    scan_id = audited(producer, settings, str(folder))
    assert changes(producer.engine, scan_id) == (0, 0, 0, 1, 0, 0)
    [row] = result_rows(producer.engine, scan_id)
    assert row["status"] == "reused"


def test_a_scan_takes_its_selection(producer: Producer, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    write(folder / "old.jpg", b"12345", when=1_600_000_000)
    write(folder / "thumbs/a.jpg", b"12345")
    write(folder / "large.jpg", b"1" * 5_000)
    write(folder / "b.jpg", b"12345")
    write(folder / "b.png", b"12345")
    scan_id = ask(
        producer, str(folder), include=("*.jpg",), exclude=("*/thumbs/*",), since="2023-01-01",
        max_bytes=4_096, min_bytes=2,
    )  # fmt: skip
    assert list_scan(producer, scan_id, threading.Event())
    uris = tuples(producer.engine, "SELECT uri FROM ledger.images")
    assert [uri.rpartition("/")[2] for (uri,) in uris] == ["b.jpg"]
    cursor = value(producer.engine, "SELECT cursor FROM ledger.source_parts")
    assert cursor == "thumbs/a.jpg", "it stands behind what was passed over, too"


def test_a_prefix_is_split_into_parts_that_together_hold_every_key_once(
    settings: Settings, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_source, "PAGE_KEYS", 5)
    monkeypatch.setattr(parallel, "SPLIT_AFTER_PAGES", 1)
    monkeypatch.setattr(scan, "PAGE_IMAGES", 16)
    keys = [f"{year}/{month:02}/{n:03}.jpg" for year in (2024, 2025) for month in range(1, 7)
            for n in range(20)] + [f"flat-{n * 7919 % 1000:03}" for n in range(100)]  # fmt: skip
    for key in keys:
        s3.put("parts", key, b"x")
    own = read_settings().model_copy(
        update=settings.model_dump(include=settings.model_fields_set) | {"listing_concurrency": 4}
    )
    with open_producer(own, read_catalogue(None)) as producer:
        scan_id = ask(producer, "s3://parts/")
        halted = 0
        moments = random.Random(3)
        while value(producer.engine, "SELECT listed_at FROM ledger.scans") is None:
            steps = iter([False] * moments.randint(1, 12))
            stop = threading.Event()
            monkeypatch.setattr(stop, "is_set", lambda steps=steps: next(steps, True))
            assert list_scan(producer, scan_id, stop)
            halted += 1
        assert halted > 1
        uris = tuples(producer.engine, "SELECT uri FROM ledger.images ORDER BY uri")
        assert [uri for (uri,) in uris] == sorted(f"s3://parts/{key}" for key in keys)
        parts = tuples(
            producer.engine,
            "SELECT cursor, until, listed_at IS NULL FROM ledger.source_parts ORDER BY cursor",
        )
    assert len(parts) > 1
    assert not any(is_left for _, _, is_left in parts)


@contextmanager
def _bucket(objects: int) -> Iterator[str]:
    words = [sys.executable, "-m", "benchmarks.bucket", str(objects)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.kill()


@pytest.mark.usefixtures("s3")
def test_producers_killed_while_they_audit_skip_and_double_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moments = random.Random(5)
    with _bucket(OBJECTS) as url:
        monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", url)
        own = read_settings().model_copy(
            update=settings.model_dump(include=settings.model_fields_set)
            | {"batch_images": 500, "s3_endpoint_url": url}
        )
        with open_producer(own, read_catalogue(None)) as producer:
            scan_id = ask(producer, "s3://archive/photos/")
            for _ in range(4):
                kill_amid_listing(producer, moments.randint(1, 9_000), OBJECTS, tmp_path / "log")
            assert list_scan(producer, scan_id, threading.Event())
            count = "SELECT count(*), count(DISTINCT uri) FROM ledger.images"
            assert tuples(producer.engine, count) == [(OBJECTS, OBJECTS)]
            assert publish_recorded(producer) > 0
            seen = value(
                producer.engine,
                "SELECT count(DISTINCT image_id) FROM audit_images WHERE scan_id = :id",
                id=scan_id,
            )
            assert seen == OBJECTS
            assert value(producer.engine, "SELECT new FROM scan_progress") == OBJECTS
