"""Submissions during outages of broker and ledger."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from fakesweep.producer import backoff as waiting
from fakesweep.producer.resources import open_producer
from fakesweep.producer.uploads import Uploads, group_commit
from fakesweep.schema.errors import LedgerAway
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.settings import Settings
from tests.chaos.broker import Broker
from tests.integration.uploads import check_counts, images, in_queue, one, uploads_of, uris
from tests.support.killable_postgres import killable_postgres
from tests.support.servers import wait_until


def test_without_a_broker_uploads_are_recorded_and_published_when_it_is_back(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LONGEST_WAIT_SECONDS", 0.2)
    (tmp_path / "logs").mkdir()
    broker = Broker(tmp_path)
    broker.start()
    settings = Settings(database_url=database_url, broker_url=broker.url(), batch_images=4)
    published = "SELECT count(*) FROM ledger.batches WHERE state = 'published'"
    try:
        with (
            structlog.testing.capture_logs() as lines,
            open_producer(settings, read_catalogue(None)) as producer,
            Uploads(producer) as uploads,
        ):
            broker.kill()
            uploads.submit(uploads_of(*uris(3)))
            wait_until(lambda: one(producer.engine, published) == 1, "it was tried in vain")
            uploads.submit(uploads_of("s3://photos/second.jpg"))
            before = len(lines)
            wait_until(lambda: len(lines) >= before + 2, "it is tried again")
            assert one(producer.engine, published) == 1
            broker.start()
            wait_until(lambda: "s3://photos/second.jpg" in in_queue(producer), "it is published")
            check_counts(producer.engine, 4)
    finally:
        broker.kill()


def test_a_broker_that_falls_silent_keeps_no_upload_waiting(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    broker = Broker(tmp_path)
    broker.start()
    settings = Settings(database_url=database_url, broker_url=broker.url(), batch_images=4)
    try:
        with (
            open_producer(settings, read_catalogue(None)) as producer,
            Uploads(producer) as uploads,
        ):
            broker.freeze()
            for number in range(10):
                uploads.submit(uploads_of(f"s3://photos/{number}.jpg"))
            check_counts(producer.engine, 10)
            broker.thaw()
            wait_until(lambda: len(in_queue(producer)) == 10, "all are published")
    finally:
        broker.thaw()
        broker.kill()


def test_without_a_ledger_a_submission_is_refused_in_a_while_and_the_next_goes_on(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LEDGER_TIMEOUT_SECONDS", 1.0)
    with killable_postgres() as server:
        server.start()
        server.renew_database()
        settings = Settings(database_url=server.url, broker_url=broker_url)
        with (
            open_producer(settings, read_catalogue(None)) as producer,
            Uploads(producer) as uploads,
        ):
            uploads.submit(uploads_of("s3://photos/a.jpg"))
            server.kill()
            with pytest.raises(LedgerAway, match="did not answer within 1 s; hand the"):
                uploads.submit(uploads_of("s3://photos/b.jpg"))
            monkeypatch.setattr(group_commit, "LEDGER_TIMEOUT_SECONDS", 30.0)
            with ThreadPoolExecutor(1) as threads:
                waiting = threads.submit(uploads.submit, uploads_of("s3://photos/c.jpg"))
                wait_until(lambda: len(uploads._waiting) > 0, "it is put back")
                server.start()
                ids = waiting.result().image_ids
            assert images(producer.engine, ids) == ["s3://photos/c.jpg"]
            check_counts(producer.engine, 2)
