"""Producer with a real ledger and a real broker."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import text

from fakesweep.producer import feeder
from fakesweep.producer.feeder import publish_recorded, reconcile
from fakesweep.producer.listing import scan
from fakesweep.producer.listing.scan import list_scan
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.scans import ScanRequest, add_scan
from fakesweep.producer.service import serve
from fakesweep.schema.errors import BrokerError, CatalogueError, MigrationError, SourceError
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import SCAN_LANES, Lane
from tests.support.photographs import folder_of_photographs
from tests.support.servers import wait_until


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(
        database_url=database_url, broker_url=broker_url, batch_images=4, window_batches=2
    )


@pytest.fixture
def producer(settings: Settings) -> Iterator[Producer]:
    with open_producer(settings, read_catalogue(None)) as opened:
        yield opened


def request_for(*sources: str, **changes: object) -> ScanRequest:
    wanted: dict[str, object] = {
        "sources": sources,
        "models": ("vit-tiny-cifake",),
        "lane": Lane.BULK,
        "policy": "default",
    }
    return ScanRequest(**(wanted | changes))  # type: ignore[arg-type] # keywords by name


def rows(producer: Producer, sql: str) -> list[tuple[object, ...]]:
    with producer.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def finish_published_batches(producer: Producer) -> None:
    """Act as a worker: end published batches in the ledger."""
    with producer.engine.begin() as connection:
        connection.execute(
            text("""UPDATE ledger.batches SET state = 'done', classified_count = image_count,
                    finished_at = now() WHERE state = 'published'""")
        )


def test_listing_records_every_image_of_a_folder_once_in_batches(
    producer: Producer, tmp_path: Path
) -> None:
    scan_id = add_scan(producer, request_for(str(folder_of_photographs(tmp_path / "in", 10))))
    assert list_scan(producer, scan_id, threading.Event())
    assert rows(producer, "SELECT image_count FROM ledger.batches ORDER BY batch_id") == [
        (4,), (4,), (2,),
    ]  # fmt: skip
    assert rows(producer, "SELECT count(*), count(DISTINCT uri) FROM ledger.images") == [(10, 10)]


def test_listing_that_was_stopped_goes_on_without_skipping_or_doubling(
    producer: Producer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "PAGE_IMAGES", 4)
    folder = folder_of_photographs(tmp_path / "in", 11)
    scan_id = add_scan(producer, request_for(str(folder)))

    class AfterTwoBatches(threading.Event):
        def is_set(self) -> bool:
            return rows(producer, "SELECT count(*) FROM ledger.batches") == [(2,)]

    list_scan(producer, scan_id, AfterTwoBatches())
    assert rows(producer, "SELECT count(*) FROM ledger.images") == [(8,)]
    list_scan(producer, scan_id, threading.Event())
    assert rows(producer, "SELECT count(*), count(DISTINCT uri) FROM ledger.images") == [(11, 11)]
    with producer.engine.connect() as connection:
        assert progress(connection, scan_id).state == "running"


def test_only_one_process_lists_a_scan_at_a_time(producer: Producer, tmp_path: Path) -> None:
    scan_id = add_scan(producer, request_for(str(folder_of_photographs(tmp_path / "in", 3))))
    seen: list[bool] = []

    class WhileListing(threading.Event):
        def is_set(self) -> bool:
            seen.append(list_scan(producer, scan_id, threading.Event()))
            return False

    assert list_scan(producer, scan_id, WhileListing())
    assert set(seen) == {False}


def test_redis_never_holds_more_batches_than_the_window(producer: Producer, tmp_path: Path) -> None:
    scan_id = add_scan(producer, request_for(str(folder_of_photographs(tmp_path / "in", 20))))
    list_scan(producer, scan_id, threading.Event())
    assert publish_recorded(producer) == 2
    assert publish_recorded(producer) == 0
    assert len(producer.publisher.waiting_batches(Lane.BULK)) == 2
    finish_published_batches(producer)
    assert publish_recorded(producer) == 2


def test_live_batches_have_a_queue_and_a_window_of_their_own(
    producer: Producer, tmp_path: Path
) -> None:
    folder = str(folder_of_photographs(tmp_path / "in", 4))
    for lane in SCAN_LANES:
        list_scan(producer, add_scan(producer, request_for(folder, lane=lane)), threading.Event())
    assert publish_recorded(producer) == 2
    waiting = [producer.publisher.waiting_batches(lane) for lane in SCAN_LANES]
    assert [len(batches) for batches in waiting] == [1, 1]


def test_batches_that_redis_lost_are_published_again(
    producer: Producer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan_id = add_scan(producer, request_for(str(folder_of_photographs(tmp_path / "in", 8))))
    list_scan(producer, scan_id, threading.Event())
    publish_recorded(producer)
    monkeypatch.setattr(feeder, "LOST_AFTER_SECONDS", 0.0)
    reconcile(producer)
    assert publish_recorded(producer) == 0, "nothing is lost while it lies in the queue"
    with redis.Redis.from_url(producer.settings.broker_url or "") as broker:
        broker.lpush("bulk", broker.lpop("bulk"), b"garbage", b"[]", b'{"headers": {}}')
        broker.rpop("bulk")
    reconcile(producer)
    assert publish_recorded(producer) == 1, "the one that was taken out is published again"
    with redis.Redis.from_url(producer.settings.broker_url or "") as broker:
        broker.flushdb()
    reconcile(producer)
    assert publish_recorded(producer) == 2
    assert len(producer.publisher.waiting_batches(Lane.BULK)) == 2


def test_a_batch_whose_worker_went_silent_is_published_again(
    producer: Producer, tmp_path: Path
) -> None:
    scan_id = add_scan(producer, request_for(str(folder_of_photographs(tmp_path / "in", 4))))
    list_scan(producer, scan_id, threading.Event())
    publish_recorded(producer)
    with producer.engine.begin() as connection:
        connection.execute(
            text("UPDATE ledger.batches SET state = 'running', lease_until = now() - interval '1s'")
        )
    reconcile(producer)
    assert publish_recorded(producer) == 1


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"models": ("vit-tiny-cifak",)}, CatalogueError, "did you mean vit-tiny-cifake"),
        ({"policy": "lenient"}, CatalogueError, "known: card, default"),
        ({"sources": ("/nowhere/at/all",)}, SourceError, "/nowhere/at/all"),
    ],
)
def test_a_request_with_a_mistake_writes_nothing(
    producer: Producer, tmp_path: Path, changes: dict[str, object], error: type[Exception],
    words: str,
) -> None:  # fmt: skip
    folder = str(folder_of_photographs(tmp_path / "in", 1))
    with pytest.raises(error, match=words):
        add_scan(producer, request_for(folder, **changes))
    assert rows(producer, "SELECT count(*) FROM ledger.scans") == [(0,)]


def test_the_service_works_a_scan_to_its_end_and_returns(
    producer: Producer, tmp_path: Path
) -> None:
    scan_id = add_scan(producer, request_for(str(folder_of_photographs(tmp_path / "in", 20))))
    stop = threading.Event()
    service = threading.Thread(target=serve, args=(producer, stop, scan_id))
    service.start()

    def finished() -> bool:
        finish_published_batches(producer)
        return not service.is_alive()

    wait_until(finished, "the service returns once every batch is done")
    with producer.engine.connect() as connection:
        done = progress(connection, scan_id)
    assert (done.state, done.submitted, done.pending) == ("finished", 20, 0)


def test_the_service_finds_scans_that_others_asked_for(producer: Producer, tmp_path: Path) -> None:
    stop = threading.Event()
    service = threading.Thread(target=serve, args=(producer, stop))
    service.start()
    try:
        add_scan(producer, request_for(str(folder_of_photographs(tmp_path / "in", 4))))
        wait_until(
            lambda: len(producer.publisher.waiting_batches(Lane.BULK)) == 1,
            "the batch is published",
        )
    finally:
        stop.set()
        service.join(10)
    assert not service.is_alive()


def test_an_empty_database_is_refused_with_the_command_to_run(
    empty_database_url: str, broker_url: str
) -> None:
    settings = Settings(database_url=empty_database_url, broker_url=broker_url)
    with (
        pytest.raises(MigrationError, match="fakesweep db upgrade"),
        open_producer(settings, read_catalogue(None)),
    ):
        pass


def test_a_broker_that_does_not_answer_is_named_without_its_password(database_url: str) -> None:
    settings = Settings(database_url=database_url, broker_url="redis://:hush@127.0.0.1:1/0")
    with (
        pytest.raises(BrokerError, match=r"127\.0\.0\.1:1") as raised,
        open_producer(settings, read_catalogue(None)),
    ):
        pass
    assert "hush" not in str(raised.value)
