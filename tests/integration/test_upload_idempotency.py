"""Idempotency of submissions: repeated URIs, keys and lost answers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.uploads import Submitted, Upload, Uploads, group_commit
from fakesweep.producer.uploads.submissions import record_together
from fakesweep.schema.errors import SubmissionConflict
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.uploads import open_scan, record_uploads
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane
from tests.integration.uploads import HOLD, WAITING, check_counts, images, one, uploads_of, uris
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


def test_the_same_uri_later_is_another_image_and_twice_at_once_is_one(
    producer: Producer, uploads: Uploads
) -> None:
    uri = "s3://photos/a.jpg"
    first = uploads.submit(uploads_of(uri, uri))
    second = uploads.submit(uploads_of(uri))
    assert len(first.image_ids) == 2
    assert len({*first.image_ids, *second.image_ids}) == 2
    check_counts(producer.engine, 2)


def test_a_named_occurrence_is_one_image_in_every_submission(
    producer: Producer, uploads: Uploads
) -> None:
    named = [Upload("s3://photos/a.jpg", "v1"), Upload("s3://photos/b.jpg", "v" * 5_000)]
    first = uploads.submit(named)
    with producer.engine.begin() as connection:
        connection.execute(text("UPDATE ledger.scans SET created_at = now() - interval '1 day'"))
    with ThreadPoolExecutor(8) as threads:
        again = list(threads.map(lambda _: uploads.submit(named), range(16)))
    assert {submitted.image_ids for submitted in again} == {first.image_ids}
    other = uploads.submit([Upload("s3://photos/a.jpg", "v2")])
    assert other.scan_id != first.scan_id
    check_counts(producer.engine, 3)


def test_two_processes_that_record_the_same_sightings_wait_for_one_another(
    producer: Producer,
) -> None:
    named = [Upload(uri, "v1") for uri in uris(40)]
    with Uploads(producer) as here, Uploads(producer) as there, ThreadPoolExecutor(16) as threads:
        waves = [
            (uploads, named if number % 2 else named[::-1])
            for number, uploads in enumerate([here, there] * 20)
        ]
        answers = list(threads.map(lambda wave: wave[0].submit(wave[1]), waves))
    assert len({frozenset(submitted.image_ids) for submitted in answers}) == 1
    check_counts(producer.engine, 40)


def test_sightings_are_recorded_in_one_order_so_that_no_two_transactions_lock_each_other_out(
    producer: Producer, uploads: Uploads
) -> None:
    first, second = (Upload(uri, "v1") for uri in uris(2))
    uploads.submit(uploads_of("s3://photos/opens/the/scan.jpg"))
    with structlog.testing.capture_logs() as lines, ThreadPoolExecutor(1) as threads:
        with producer.engine.begin() as connection:
            scan_id = open_scan(connection, uploads._stream)
            ids = record_uploads(connection, scan_id, [first])
            answer = threads.submit(uploads.submit, [second, first])
            wait_until(lambda: one(producer.engine, WAITING) == 1, "it waits for the first")
            ids |= record_uploads(connection, scan_id, [second])
        assert set(answer.result().image_ids) == set(ids.values())
    assert "transaction_conflicted" not in [line["event"] for line in lines]
    check_counts(producer.engine, 3)


def test_a_commit_whose_answer_was_lost_at_midnight_is_not_recorded_again_the_next_day(
    producer: Producer, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[Any] = []

    def lose_the_answer(_: Connection, *asked: Any) -> list[Submitted | SubmissionConflict]:
        with producer.engine.begin() as connection:
            answers = record_together(connection, *asked)
            connection.execute(
                text("UPDATE ledger.scans SET created_at = now() - interval '1 day'")
            )
        lost.extend(answers)
        monkeypatch.setattr(group_commit, "record_together", record_together)
        raise OperationalError("COMMIT", {}, Exception("the connection is gone"))

    monkeypatch.setattr(group_commit, "record_together", lose_the_answer)
    submitted = uploads.submit(uploads_of(*uris(3)), key="abc")
    assert [submitted] == lost, (
        "the second time finds what the first recorded, and is no repetition"
    )
    monkeypatch.setattr(group_commit, "record_together", lose_the_answer)
    submitted = uploads.submit(uploads_of(*uris(3)))
    assert submitted.image_ids == lost[1].image_ids
    check_counts(producer.engine, 6)


def test_a_key_gets_its_first_answer_again(producer: Producer, uploads: Uploads) -> None:
    first = uploads.submit(uploads_of(*uris(3)), key="token 1: abc")
    again = uploads.submit(uploads_of(*uris(3)), key="token 1: abc")
    assert (first.is_repeated, again.is_repeated) == (False, True)
    assert (again.scan_id, again.image_ids) == (first.scan_id, first.image_ids)
    other = uploads.submit(uploads_of(*uris(3)), key="token 2: abc")
    assert not other.is_repeated
    assert set(other.image_ids).isdisjoint(first.image_ids)
    check_counts(producer.engine, 6)


@pytest.mark.parametrize("changed", ["uris", "order", "lane", "stream", "occurrence"])
def test_a_key_for_other_uploads_is_a_conflict(
    producer: Producer, uploads: Uploads, changed: str
) -> None:
    uploads.submit(uploads_of(*uris(2)), key="abc")
    with pytest.raises(SubmissionConflict, match="'abc' was used before, for other uploads"):
        uploads.submit(
            {
                "uris": uploads_of(*uris(3)),
                "order": uploads_of(*reversed(uris(2))),
                "occurrence": [Upload(uri, "v1") for uri in uris(2)],
            }.get(changed, uploads_of(*uris(2))),
            lane=Lane.BULK if changed == "lane" else Lane.LIVE,
            stream="other" if changed == "stream" else "uploads",
            key="abc",
        )
    check_counts(producer.engine, 2)


def test_a_key_at_the_same_moment_in_two_processes_gives_one_set_of_images(
    producer: Producer,
) -> None:
    with Uploads(producer) as here, Uploads(producer) as there, ThreadPoolExecutor(20) as threads:
        answers = list(
            threads.map(
                lambda uploads: uploads.submit(uploads_of(*uris(5)), key="k" * 3_000),
                [here, there] * 10,
            )
        )
    assert len({submitted.image_ids for submitted in answers}) == 1
    assert sum(not submitted.is_repeated for submitted in answers) == 1
    check_counts(producer.engine, 5)


def test_a_conflict_spoils_nothing_for_what_is_recorded_with_it(
    producer: Producer, uploads: Uploads
) -> None:
    uploads.submit(uploads_of("s3://photos/a.jpg"), key="abc")
    with ThreadPoolExecutor(3) as threads:
        with producer.engine.begin() as connection:
            connection.execute(text(HOLD))
            threads.submit(uploads.submit, uploads_of("s3://photos/first.jpg"))
            wait_until(lambda: one(producer.engine, WAITING) == 1, "the first is being recorded")
            bad = threads.submit(uploads.submit, uploads_of("s3://photos/b.jpg"), key="abc")
            good = threads.submit(uploads.submit, uploads_of("s3://photos/c.jpg"), key="def")
            wait_until(lambda: len(uploads._waiting) == 2, "both gather")
        with pytest.raises(SubmissionConflict):
            bad.result()
        assert images(producer.engine, good.result().image_ids) == ["s3://photos/c.jpg"]
