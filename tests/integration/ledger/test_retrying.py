"""Retry of failures: the chosen ones, once, and nothing else."""

import itertools
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from sqlalchemy import Engine

from fakesweep.schema.errors import ScanError
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.ledger.reports.results import failure_counts
from fakesweep.schema.ledger.scans.control import (
    RETRYABLE,
    begin_retry,
    cancel_scan,
    pause_scan,
    retry_failures,
)
from fakesweep.schema.ledger.scans.scans import ListedImage
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import (
    add_model,
    ask,
    claimed,
    content_of,
    end,
    failed,
    judged,
    record,
    run,
    store,
    take,
    take_one,
    tuples,
    value,
)
from tests.integration.ledger.scan_control import (
    in_background,
    scan_with_four_batches,
    state_of,
    steer,
)
from tests.support.batches import record_batch

CODES = (FailureCode.NOT_FOUND, FailureCode.EMPTY, FailureCode.TIMED_OUT)


def _scan_of_failures(engine: Engine, batches: int = 2) -> int:
    """Return a finished scan: each batch has one failed image for each code, and one classified."""
    model = add_model(engine)
    scan_id = ask(engine)
    for number in range(batches):
        record(engine, scan_id, [f"s3://photos/{number}/{code}" for code in (*CODES, "good")])
    end(engine, scan_id)
    for message in take(engine):
        held = claimed(engine, message.batch_id)
        *bad, good = message.images
        outcomes = [failed(image, code) for image, code in zip(bad, CODES, strict=True)]
        outcomes.append(judged(held, good, content_of(good.uri), {model: 0.9}))
        assert store(engine, held, outcomes)
    return scan_id


def _begin(engine: Engine, scan_id: int) -> datetime:
    return steer(engine, begin_retry, scan_id)


def _retry(
    engine: Engine,
    scan_id: int,
    codes: Collection[FailureCode],
    asked_at: datetime,
    at_most: int = 1_000,
) -> int:
    with engine.begin() as connection:
        return retry_failures(connection, scan_id, codes, at_most, asked_at)


def test_the_chosen_failures_run_again_and_every_other_row_stays(engine: Engine) -> None:
    scan_id = _scan_of_failures(engine)
    others = "SELECT * FROM ledger.outcomes WHERE failure_code IS DISTINCT FROM 'not_found'"
    before = tuples(engine, f"{others} ORDER BY image_id")
    verdicts = tuples(engine, "SELECT * FROM ledger.verdicts ORDER BY image_id")
    assert _retry(engine, scan_id, [FailureCode.NOT_FOUND], _begin(engine, scan_id)) == 2
    assert state_of(engine, scan_id) == "running"
    message = take_one(engine)
    assert [image.uri for image in message.images] == [
        "s3://photos/0/not_found",
        "s3://photos/1/not_found",
    ]
    held = claimed(engine, message.batch_id)
    model = value(engine, "SELECT model_id FROM ledger.models")
    again = [judged(held, image, content_of(image.uri), {model: 0.9}) for image in message.images]
    assert store(engine, held, again)
    assert state_of(engine, scan_id) == "finished"
    retried = {image.image_id for image in message.images}
    after = tuples(engine, "SELECT * FROM ledger.outcomes ORDER BY image_id")
    assert [row for row in after if row[0] not in retried] == before
    assert set(verdicts) < set(tuples(engine, "SELECT * FROM ledger.verdicts"))
    with engine.connect() as connection:
        assert failure_counts(connection, scan_id) == {"empty": 2, "timed_out": 2}
        now = progress(connection, scan_id)
    assert (now.submitted, now.classified, now.failed) == (8, 4, 4)


def test_failures_are_moved_batch_by_batch_and_counted_at_every_moment(engine: Engine) -> None:
    scan_id = _scan_of_failures(engine, batches=5)
    asked_at = _begin(engine, scan_id)
    moved = []
    while added := _retry(engine, scan_id, CODES, asked_at, at_most=4):
        moved.append(added)
        assert state_of(engine, scan_id) == "running"
    assert moved == [4, 4, 4, 3]
    messages = take(engine)
    assert sorted(len(message.images) for message in messages) == [3, 4, 4, 4]
    assert len({image.image_id for one in messages for image in one.images}) == 15


def test_a_retry_runs_each_failure_once(engine: Engine) -> None:
    scan_id = _scan_of_failures(engine)
    asked_at = _begin(engine, scan_id)
    assert _retry(engine, scan_id, CODES, asked_at) == 6
    message = take_one(engine)
    store(engine, claimed(engine, message.batch_id), [failed(image) for image in message.images])
    assert _retry(engine, scan_id, CODES, asked_at) == 0
    assert state_of(engine, scan_id) == "finished"
    assert _retry(engine, scan_id, CODES, _begin(engine, scan_id)) == 6


def test_failures_of_a_scan_that_still_runs_are_run_again_while_it_does(engine: Engine) -> None:
    scan_id = scan_with_four_batches(engine)
    assert _retry(engine, scan_id, RETRYABLE, _begin(engine, scan_id)) == 2
    assert state_of(engine, scan_id) == "running"
    batches = tuples(engine, "SELECT batch_id, state FROM ledger.batches ORDER BY batch_id")
    assert batches[1:] == [(2, "running"), (3, "published"), (4, "recorded"), (5, "recorded")]


def test_failures_of_other_scans_are_left_alone(engine: Engine) -> None:
    other = _scan_of_failures(engine)
    scan_id = _scan_of_failures(engine)
    assert _retry(engine, scan_id, RETRYABLE, _begin(engine, scan_id)) == 6
    assert state_of(engine, other) == "finished"


def test_a_text_that_is_no_uri_is_not_among_what_can_be_run_again(engine: Engine) -> None:
    scan_id = ask(engine)
    with engine.begin() as connection:
        bad = ListedImage("list.txt:9", "9", unreadable="no URI")
        record_batch(connection, scan_id, 0, [bad])
    end(engine, scan_id)
    assert set(FailureCode) - {FailureCode.INVALID_URI} == RETRYABLE
    assert _retry(engine, scan_id, RETRYABLE, _begin(engine, scan_id)) == 0
    assert state_of(engine, scan_id) == "finished"


def test_images_that_killed_workers_run_again_each_alone_and_in_quarantine(engine: Engine) -> None:
    scan_id = _scan_of_failures(engine)
    run(
        engine,
        "UPDATE ledger.outcomes SET failure_code = 'killed_worker' "
        "WHERE failure_code = 'timed_out'",
    )
    asked_at = _begin(engine, scan_id)
    moved = []
    while added := _retry(engine, scan_id, RETRYABLE, asked_at):
        moved.append(added)
    assert moved == [4, 1, 1]
    assert [len(message.images) for message in take(engine, Lane.QUARANTINE)] == [1, 1]
    (message,) = take(engine)
    assert {image.uri.rpartition("/")[2] for image in message.images} == {"not_found", "empty"}


def test_a_live_scans_failures_run_again_in_its_lane(engine: Engine) -> None:
    scan_id = ask(engine, lane=Lane.LIVE)
    record(engine, scan_id, ["s3://photos/1"])
    message = take_one(engine, Lane.LIVE)
    store(engine, claimed(engine, message.batch_id), [failed(message.images[0])])
    assert _retry(engine, scan_id, RETRYABLE, _begin(engine, scan_id)) == 1
    assert take_one(engine, Lane.LIVE).images == message.images


def test_a_paused_scans_failures_are_not_run_again(engine: Engine) -> None:
    scan_id = scan_with_four_batches(engine)
    asked_at = _begin(engine, scan_id)
    steer(engine, pause_scan, scan_id)
    with pytest.raises(ScanError, match=f"is paused.*resume {scan_id}"):
        _begin(engine, scan_id)
    with pytest.raises(ScanError, match=f"is paused.*resume {scan_id}"):
        _retry(engine, scan_id, RETRYABLE, asked_at)
    steer(engine, cancel_scan, scan_id)
    with pytest.raises(ScanError, match="was cancelled and cannot be retried"):
        _retry(engine, scan_id, RETRYABLE, asked_at)
    assert value(engine, "SELECT count(*) FROM ledger.outcomes") == 2


def test_a_scan_that_finished_while_it_was_paused_can_be_run_again(engine: Engine) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1"])
    end(engine, scan_id)
    message = take_one(engine)
    held = claimed(engine, message.batch_id)
    steer(engine, pause_scan, scan_id)
    store(engine, held, [failed(message.images[0])])
    assert state_of(engine, scan_id) == "finished"
    assert _retry(engine, scan_id, RETRYABLE, _begin(engine, scan_id)) == 1
    assert state_of(engine, scan_id) == "running"
    assert take_one(engine).images == message.images


def test_retries_at_the_same_time_move_each_failure_once(engine: Engine) -> None:
    scan_id = _scan_of_failures(engine, batches=12)
    asked_at = _begin(engine, scan_id)

    def retry_all(_: int) -> int:
        moved = (_retry(engine, scan_id, CODES, asked_at, at_most=5) for _ in itertools.count())
        return sum(itertools.takewhile(bool, moved))

    with ThreadPoolExecutor(4) as threads:
        moved = list(threads.map(retry_all, range(4)))
    assert sum(moved) == 36
    assert state_of(engine, scan_id) == "running"
    images = [image.image_id for message in take(engine) for image in message.images]
    assert len(images) == len(set(images)) == 36


def test_a_second_retry_waits_for_the_first_and_takes_what_it_left(engine: Engine) -> None:
    scan_id = _scan_of_failures(engine)
    asked_at = _begin(engine, scan_id)
    with ThreadPoolExecutor(1) as threads:
        with engine.begin() as connection:
            assert retry_failures(connection, scan_id, CODES, 4, asked_at) == 4
            second = in_background(
                engine, threads, lambda: _retry(engine, scan_id, CODES, asked_at, at_most=4)
            )
        assert second.result() == 2
    assert state_of(engine, scan_id) == "running"


def test_a_pause_waits_for_a_retry_and_holds_its_batch(engine: Engine) -> None:
    scan_id = _scan_of_failures(engine)
    asked_at = _begin(engine, scan_id)
    assert _retry(engine, scan_id, CODES, asked_at, at_most=1) == 1
    with ThreadPoolExecutor(1) as threads:
        with engine.begin() as connection:
            assert retry_failures(connection, scan_id, CODES, 4, asked_at) == 4
            pausing = in_background(engine, threads, lambda: steer(engine, pause_scan, scan_id))
        assert pausing.result()
    assert value(engine, "SELECT count(*) FROM ledger.batches WHERE state = 'held'") == 2
    assert take(engine) == []


def test_a_retry_that_breaks_off_leaves_everything_as_it_was(engine: Engine) -> None:
    scan_id = _scan_of_failures(engine)
    asked_at = _begin(engine, scan_id)
    before = tuples(engine, "SELECT * FROM ledger.outcomes ORDER BY image_id")
    with engine.connect() as connection:
        retry_failures(connection, scan_id, CODES, 4, asked_at)
        connection.rollback()
    assert tuples(engine, "SELECT * FROM ledger.outcomes ORDER BY image_id") == before
    assert state_of(engine, scan_id) == "finished"
