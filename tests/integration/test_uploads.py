"""Submissions from many threads, with a real ledger and a real broker."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from fakesweep.producer.feeder import publish_recorded
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.service import serve
from fakesweep.producer.uploads import Upload, Uploads
from fakesweep.schema.errors import CatalogueError, DatabaseError, FakesweepError
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane
from tests.integration.uploads import (
    check_counts,
    images,
    in_queue,
    one,
    submit_while_held,
    uploads_of,
    uris,
)
from tests.support.packages import make_application
from tests.support.servers import wait_until


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(
        database_url=database_url, broker_url=broker_url, batch_images=32, window_batches=4
    )


@pytest.fixture
def producer(settings: Settings) -> Iterator[Producer]:
    with open_producer(settings, read_catalogue(None)) as opened:
        yield opened


@pytest.fixture
def uploads(producer: Producer) -> Iterator[Uploads]:
    with Uploads(producer) as opened:
        yield opened


def test_an_upload_is_recorded_then_published_to_the_live_lane(
    producer: Producer, uploads: Uploads
) -> None:
    submitted = uploads.submit(uploads_of("S3://photos/b.jpg", "s3://photos/a.jpg"))
    assert images(producer.engine, submitted.image_ids) == [
        "s3://photos/b.jpg", "s3://photos/a.jpg",
    ]  # fmt: skip
    assert not submitted.is_repeated
    wait_until(lambda: len(in_queue(producer)) == 2, "both are in the queue")
    assert one(producer.engine, "SELECT state FROM ledger.batches") == "published"


def test_submissions_during_a_commit_share_the_next_transaction(
    producer: Producer, uploads: Uploads
) -> None:
    wanted = uris(50)
    with ThreadPoolExecutor(50) as threads:
        answers = submit_while_held(producer.engine, threads, uploads, wanted)
        ids = [answer.result().image_ids for answer in answers]
    assert images(producer.engine, [image_id for (image_id,) in ids]) == wanted
    check_counts(producer.engine, 50)
    assert one(producer.engine, "SELECT count(*) FROM ledger.batches") == 3, "1, 32 and 17 images"
    assert one(producer.engine, "SELECT count(*) FROM ledger.scans") == 1
    wait_until(lambda: sorted(in_queue(producer)) == sorted(wanted), "all are in the queue")


def test_uploads_that_come_in_a_moment_travel_in_one_batch(
    database_url: str, broker_url: str
) -> None:
    patient = Settings(
        database_url=database_url, broker_url=broker_url, batch_images=20, gather_milliseconds=1_000
    )
    with (
        open_producer(patient, read_catalogue(None)) as producer,
        Uploads(producer) as uploads,
        ThreadPoolExecutor(20) as threads,
    ):
        list(threads.map(lambda uri: uploads.submit(uploads_of(uri)), uris(20)))
        assert one(producer.engine, "SELECT count(*) FROM ledger.batches") == 1


def test_submissions_of_two_streams_and_lanes_belong_to_scans_of_their_own(
    producer: Producer, uploads: Uploads
) -> None:
    with ThreadPoolExecutor(3) as threads:
        submitted = [
            threads.submit(uploads.submit, uploads_of("s3://photos/a.jpg"), lane=lane, stream=name)
            for lane, name in ((Lane.LIVE, "a"), (Lane.LIVE, "b"), (Lane.BULK, "a"))
        ]
        assert len({answer.result().scan_id for answer in submitted}) == 3
    wait_until(lambda: len(in_queue(producer, Lane.BULK)) == 1, "one lies in the bulk queue")
    wait_until(lambda: len(in_queue(producer)) == 2, "two lie in the live queue")


def test_a_refused_submission_spoils_no_other_of_its_group(
    producer: Producer, uploads: Uploads
) -> None:
    with producer.engine.begin() as connection:
        connection.execute(
            text("ALTER TABLE ledger.images ADD CHECK (uri NOT LIKE '%refused%') NOT VALID")
        )
    wanted = uris(6)
    with ThreadPoolExecutor(7) as threads:
        answers = submit_while_held(
            producer.engine, threads, uploads, [*wanted, "s3://photos/refused.jpg"]
        )
        with pytest.raises(DatabaseError, match="refused the uploads"):
            answers.pop().result()
        ids = [answer.result().image_ids[0] for answer in answers]
    assert images(producer.engine, ids) == wanted
    check_counts(producer.engine, 6)


def test_a_bad_uri_is_named_and_nothing_is_recorded(producer: Producer, uploads: Uploads) -> None:
    with pytest.raises(InvalidUri, match=r"upload 2, 'photo.jpg': the URI has no scheme"):
        uploads.submit(uploads_of("s3://photos/a.jpg", "photo.jpg"))
    check_counts(producer.engine, 0)


def test_facts_that_no_ledger_holds_are_left_out_or_spelled_so_that_it_can(
    producer: Producer, uploads: Uploads
) -> None:
    uploads.submit(
        [
            Upload("s3://photos/a.jpg", "one\x00two", size_bytes=2**70, etag="a\x00b"),
            Upload("s3://photos/b.jpg", size_bytes=-1, etag="c"),
        ],
        key="three\x00four",
    )
    check_counts(producer.engine, 2)
    assert one(producer.engine, "SELECT count(size_bytes) FROM ledger.images") == 0
    assert one(producer.engine, "SELECT count(etag) FROM ledger.images") == 2


def test_with_a_full_window_batches_stay_recorded_for_the_producers_service(
    producer: Producer, uploads: Uploads
) -> None:
    for number in range(4):
        uploads.submit(uploads_of(*uris(2, str(number))))
    wait_until(lambda: len(in_queue(producer)) == 8, "the window is full")
    late = uploads.submit(uploads_of("s3://photos/late.jpg"))
    with Uploads(producer) as other:  # its messages are counted after its end
        other.submit(uploads_of("s3://photos/later.jpg"))
    assert len(in_queue(producer)) == 8
    assert one(producer.engine, "SELECT count(*) FROM ledger.batches WHERE state = 'recorded'") == 2
    with producer.engine.begin() as connection:
        connection.execute(
            text("""UPDATE ledger.batches SET state = 'done', failed_count = image_count,
                    finished_at = now() WHERE state = 'published'""")
        )
    publish_recorded(producer)
    assert images(producer.engine, late.image_ids)[0] in in_queue(producer)


def test_shutdown_records_waiting_submissions_and_refuses_new_ones(producer: Producer) -> None:
    with ThreadPoolExecutor(3) as threads:
        with Uploads(producer) as uploads:
            answers = submit_while_held(producer.engine, threads, uploads, uris(3))
        assert [len(answer.result().image_ids) for answer in answers] == [1, 1, 1]
    with pytest.raises(FakesweepError, match="this process is ending"):
        uploads.submit(uploads_of("s3://photos/a.jpg"))
    check_counts(producer.engine, 3)
    assert sorted(in_queue(producer)) == uris(3)


def test_a_model_or_policy_that_is_not_known_is_refused_before_anything_is_taken(
    producer: Producer,
) -> None:
    with pytest.raises(CatalogueError, match="is not known"):
        Uploads(producer, models=("no-such-model",))
    with pytest.raises(CatalogueError, match="is not known"), Uploads(producer, policy="none"):
        pass


_APPLICATION = """
import os, sys, threading
from fakesweep import submit
assert not {"sqlalchemy", "celery", "boto3", "torch", "fakesweep.schema"} & set(sys.modules)
ids = []
threads = [threading.Thread(target=lambda: ids.extend(submit(["s3://photos/a.jpg"])))
           for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
child = os.fork()
if child == 0:
    print(len(submit(["s3://photos/b.jpg"], lane="bulk")), flush=True)
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
ids += submit(["s3://photos/c.jpg"])
print(len(set(ids)))
"""


def test_an_application_hands_images_in_by_one_call_from_any_thread_or_fork(
    producer: Producer, tmp_path: Path
) -> None:
    settings = producer.settings
    ran = subprocess.run(
        [sys.executable, "-W", "error", make_application(tmp_path / "own", _APPLICATION)],
        env={
            "PATH": os.environ["PATH"],
            "FAKESWEEP_DATABASE_URL": settings.database_url or "",
            "FAKESWEEP_BROKER_URL": settings.broker_url or "",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout.split()) == (0, ["1", "9"]), ran.stderr
    check_counts(producer.engine, 10)
    assert len(in_queue(producer)) == 9


def test_an_application_without_a_cluster_is_told_what_to_set(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from fakesweep import submit; submit(['s3://photos/a.jpg'])"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "SettingsError: nowhere to hand images in: set FAKESWEEP_DATABASE_URL" in ran.stderr


def test_the_service_closes_what_streams_opened_on_earlier_days(
    producer: Producer, uploads: Uploads
) -> None:
    submitted = uploads.submit(uploads_of(*uris(1)))
    with producer.engine.begin() as connection:
        connection.execute(text("UPDATE ledger.scans SET created_at = now() - interval '1 day'"))
    stop = threading.Event()
    service = threading.Thread(target=serve, args=(producer, stop))
    service.start()
    try:
        closed = (
            f"SELECT listed_at IS NOT NULL FROM ledger.scans WHERE scan_id = {submitted.scan_id}"
        )
        wait_until(lambda: one(producer.engine, closed) is True, "the scan of yesterday is closed")
    finally:
        stop.set()
        service.join(30)
