"""Rate and time left: one definition, None where unknown."""

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.reports.progress import Progress, progress
from fakesweep.schema.ledger.scans.control import RETRYABLE, begin_retry, retry_failures
from tests.integration.ledger.rows import ask, claimed, end, failed, record, run, store, take


def seen(engine: Engine, scan_id: int) -> Progress:
    with engine.connect() as connection:
        return progress(connection, scan_id)


def work(engine: Engine) -> None:
    for message in take(engine):
        held = claimed(engine, message.batch_id)
        assert store(engine, held, [failed(image) for image in message.images])


def listed(engine: Engine, batches: int = 2) -> int:
    scan_id = ask(engine)
    for number in range(batches):
        record(engine, scan_id, [f"s3://photos/{number}/{n}" for n in range(10)])
    return scan_id


def test_running_failures_again_changes_no_past_rate(engine: Engine) -> None:
    scan_id = listed(engine)
    end(engine, scan_id)
    work(engine)
    run(engine, "UPDATE ledger.scans SET created_at = created_at - interval '100 seconds', "
                "listed_at = listed_at - interval '90 seconds'")  # fmt: skip
    run(engine, "UPDATE ledger.batches SET created_at = created_at - interval '95 seconds', "
                "finished_at = finished_at - interval '80 seconds'")  # fmt: skip
    before = seen(engine, scan_id)
    assert before.images_per_second == pytest.approx(1.0, rel=0.1)
    assert before.images_per_second == pytest.approx(before.images_per_second_overall, abs=0.01)
    with engine.begin() as connection:
        asked_at = begin_retry(connection, scan_id)
        assert retry_failures(connection, scan_id, RETRYABLE, 20, asked_at) == 20
    work(engine)
    after = seen(engine, scan_id)
    assert after.state == "finished"
    assert after.finished_at is not None
    assert before.finished_at is not None
    assert after.finished_at > before.finished_at
    assert after.images_per_second == before.images_per_second
    assert after.images_per_second_overall == before.images_per_second_overall


@pytest.mark.parametrize("is_listed", [True, False])
@pytest.mark.parametrize(
    ("published", "finished", "is_told"),
    [(8, 1, False), (30, 5, False), (30, 11, True), (61, 1, True)],
)
def test_no_time_left_is_told_before_it_can_be_known(
    engine: Engine, published: int, finished: int, is_told: bool, is_listed: bool
) -> None:
    scan_id = listed(engine)
    if is_listed:
        end(engine, scan_id)
    first, _ = take(engine)
    store(engine, claimed(engine, first.batch_id), [failed(image) for image in first.images])
    run(engine, f"UPDATE ledger.batches SET published_at = now() - interval '{published} s'")
    run(engine, f"UPDATE ledger.batches SET finished_at = now() - interval '{finished} s' "
                "WHERE finished_at IS NOT NULL")  # fmt: skip
    now = seen(engine, scan_id)
    assert now.images_per_second > 0
    told = now.seconds_left if is_listed else now.seconds_left_so_far
    assert (told is not None) is is_told
    assert (now.seconds_left_so_far if is_listed else now.seconds_left) is None
    if told is not None:
        assert told == pytest.approx(now.pending / now.images_per_second, rel=0.1)
