"""Streams and their scans, known uploads, and states of images."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.dead_letters import DeadLetter, record_unreadable
from fakesweep.schema.ledger.reports.images import ModelAnswer, image_answer
from fakesweep.schema.ledger.scans.control import cancel_scan, pause_scan, resume_scan
from fakesweep.schema.ledger.scans.scans import scans_to_list
from fakesweep.schema.ledger.uploads import (
    KeptSubmission,
    Sighting,
    Stream,
    Upload,
    add_submission,
    close_past_days,
    known_images,
    lock_keys,
    open_scan,
    record_uploads,
)
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import (
    add_model,
    claimed,
    content_of,
    failed,
    judged,
    run,
    store,
    take_one,
    tuples,
    value,
)
from tests.integration.ledger.scan_control import in_background, state_of, steer

STREAM = Stream("uploads", Lane.LIVE, "default", ("tiny",))


def opened(engine: Engine, stream: Stream = STREAM) -> int:
    with engine.begin() as connection:
        return open_scan(connection, stream)


def record(
    engine: Engine, uris: Sequence[str], stream: Stream = STREAM, occurrence: str = "once"
) -> dict[Sighting, int]:
    with engine.begin() as connection:
        scan_id = open_scan(connection, stream)
        uploads = [Upload(uri, occurrence) for uri in uris]
        return record_uploads(connection, scan_id, uploads)


def let_a_day_pass(engine: Engine) -> None:
    run(engine, "UPDATE ledger.scans SET created_at = created_at - interval '1 day'")


def test_uploads_of_a_day_belong_to_one_scan_that_is_named_by_stream_and_day(
    engine: Engine,
) -> None:
    first = opened(engine)
    assert opened(engine) == first
    assert state_of(engine, first) == "listing"
    named = "SELECT name = 'uploads ' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
    assert value(engine, f"{named} FROM ledger.scans")
    assert value(engine, "SELECT source FROM ledger.scan_sources") == "stream:uploads"
    with engine.connect() as connection:
        assert scans_to_list(connection, "here") == []


def test_each_stream_lane_policy_and_choice_of_models_has_a_scan_of_its_own(
    engine: Engine,
) -> None:
    streams = [
        STREAM,
        STREAM._replace(stream="events:photos"),
        STREAM._replace(lane=Lane.BULK),
        STREAM._replace(policy="card"),
        STREAM._replace(model_keys=("tiny", "other")),
    ]
    scans = [opened(engine, stream) for stream in streams]
    assert len(set(scans)) == len(streams)
    assert [opened(engine, stream) for stream in streams] == scans


def test_a_day_later_another_scan_opens_and_the_first_can_finish(engine: Engine) -> None:
    first = opened(engine)
    let_a_day_pass(engine)
    second = opened(engine)
    assert second != first
    assert state_of(engine, first) == "finished"
    assert state_of(engine, second) == "listing"
    assert value(engine, "SELECT count(*) FROM ledger.scan_sources WHERE listed_at IS NULL") == 1


def test_a_stream_that_nobody_uses_any_more_has_its_last_scan_closed(engine: Engine) -> None:
    first, other = opened(engine), opened(engine, STREAM._replace(stream="other"))
    run(engine, "UPDATE ledger.scans SET created_at = now() - interval '1 day' WHERE scan_id = 1")
    with engine.begin() as connection:
        assert close_past_days(connection) == [first]
        assert close_past_days(connection) == []
    assert state_of(engine, first) == "finished"
    assert state_of(engine, other) == "listing"


def test_many_who_open_a_stream_at_once_get_one_scan(engine: Engine) -> None:
    for _ in range(5):
        opened(engine)
        let_a_day_pass(engine)
        with ThreadPoolExecutor(8) as threads:
            found = set(threads.map(lambda _: opened(engine), range(24)))
        assert len(found) == 1


def test_a_scan_is_not_closed_under_those_who_are_recording_in_it(engine: Engine) -> None:
    with ThreadPoolExecutor(1) as threads:
        scan_id = opened(engine)
        with engine.begin() as connection:
            assert open_scan(connection, STREAM) == scan_id
            run(engine, "SELECT set_policy('default', 0.3, 0.7)")
            closing = in_background(engine, threads, lambda: opened(engine))
            record_uploads(connection, scan_id, [Upload("s3://photos/1.jpg", "once")])
        assert closing.result() != scan_id
    assert state_of(engine, scan_id) == "running"


def test_a_changed_policy_counts_from_the_next_upload_on(engine: Engine) -> None:
    first = opened(engine)
    run(engine, "SELECT set_policy('default', 0.3, 0.7)")
    second = opened(engine)
    assert second != first
    assert tuples(
        engine,
        "SELECT real_below FROM ledger.scans JOIN ledger.policies USING (policy_id) ORDER BY 1",
    ) == [(0.2,), (0.3,)]


def test_judging_an_open_scan_by_another_policy_leaves_its_stream_as_it_was(
    engine: Engine,
) -> None:
    first = opened(engine)
    opened(engine, STREAM._replace(policy="card"))
    run(engine, "SELECT rejudge(1, 'card')")
    second = opened(engine)
    assert second not in (first, 2)
    assert opened(engine) == second


def test_uploads_to_a_paused_scan_are_held_until_it_goes_on(engine: Engine) -> None:
    scan_id = opened(engine)
    steer(engine, pause_scan, scan_id)
    record(engine, ["s3://photos/1.jpg"])
    assert value(engine, "SELECT state FROM ledger.batches") == "held"
    steer(engine, resume_scan, scan_id)
    assert take_one(engine, Lane.LIVE).scan_id == scan_id


def test_uploads_after_a_cancelled_scan_belong_to_another(engine: Engine) -> None:
    first = opened(engine)
    steer(engine, cancel_scan, first)
    second = opened(engine)
    assert second != first
    assert opened(engine) == second


def test_a_sighting_is_recorded_once_and_a_batch_without_images_is_not_kept(
    engine: Engine,
) -> None:
    first = record(engine, ["s3://photos/1.jpg", "s3://photos/2.jpg"])
    again = record(engine, ["s3://photos/2.jpg", "s3://photos/3.jpg"])
    assert [sighting.uri for sighting in again] == ["s3://photos/3.jpg"]
    assert record(engine, ["s3://photos/3.jpg"]) == {}
    assert len(first | again) == 3
    assert tuples(engine, "SELECT image_count FROM ledger.batches ORDER BY batch_id") == [
        (2,), (1,),
    ]  # fmt: skip
    record(engine, ["s3://photos/3.jpg"], occurrence="overwritten")
    assert value(engine, "SELECT count(*) FROM ledger.images") == 4


def test_a_sighting_is_known_whichever_day_it_was_recorded(engine: Engine) -> None:
    first = record(engine, ["s3://photos/1.jpg"])
    let_a_day_pass(engine)
    record(engine, ["s3://photos/2.jpg"])
    [sighting] = first
    later = Sighting("s3://photos/1.jpg", "overwritten")
    with engine.connect() as connection:
        assert known_images(connection, STREAM, [sighting, later]) == first
        other = STREAM._replace(stream="other")
        assert known_images(connection, other, [sighting, later]) == {}


def test_a_concurrent_submission_with_the_same_key_waits(engine: Engine) -> None:
    def lock(keys: Sequence[str]) -> int:
        with engine.begin() as connection:
            return len(lock_keys(connection, keys))

    with ThreadPoolExecutor(1) as threads:
        with engine.begin() as connection:
            assert lock_keys(connection, ["b", "a"]) == {}
            assert lock(["c"]) == 0
            waiting = in_background(engine, threads, lambda: lock(["c", "a"]))
            run(
                engine,
                "INSERT INTO ledger.submissions VALUES ('a', '\\x00', 'once', 1, ARRAY[7])",
            )
        assert waiting.result() == 1


def test_an_image_is_pending_then_classified_with_a_verdict_of_each_model(engine: Engine) -> None:
    tiny, other = add_model(engine, "tiny"), add_model(engine, "other")
    stream = STREAM._replace(model_keys=("tiny", "other"))
    [image_id] = record(engine, ["s3://photos/1.jpg"], stream).values()
    with engine.connect() as connection:
        answer = image_answer(connection, image_id)
        assert image_answer(connection, image_id + 1) is None
    assert answer is not None
    assert (answer.uri, answer.status, answer.verdicts) == ("s3://photos/1.jpg", "pending", {})
    message = take_one(engine, Lane.LIVE)
    held, [image] = claimed(engine, message.batch_id), message.images
    store(engine, held, [judged(held, image, content_of(1), {tiny: 0.9, other: 0.1})])
    with engine.connect() as connection:
        answer = image_answer(connection, image_id)
    assert answer is not None
    assert answer.status == "classified"
    assert answer.finished_at is not None
    assert answer.verdicts == {
        "other": ModelAnswer(0.1, "real", None),
        "tiny": ModelAnswer(0.9, "fake", "unknown"),
    }


def test_an_image_that_failed_says_why(engine: Engine) -> None:
    [image_id] = record(engine, ["s3://photos/1.jpg"]).values()
    message = take_one(engine, Lane.LIVE)
    store(engine, claimed(engine, message.batch_id), [failed(message.images[0])])
    with engine.connect() as connection:
        answer = image_answer(connection, image_id)
    assert answer is not None
    assert (answer.status, answer.verdicts) == ("failed", {})
    assert answer.failure_code == FailureCode.NOT_FOUND
    assert answer.failure_message == "the object is gone"


@pytest.mark.parametrize("role", ["fakesweep_producer", "fakesweep_api"])
def test_the_api_role_can_record_uploads(engine: Engine, role: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET ROLE {role}")
        scan_id = open_scan(connection, STREAM)
        [(sighting, image_id)] = record_uploads(
            connection, scan_id, [Upload("s3://photos/1.jpg", "once")]
        ).items()
        assert record_uploads(connection, scan_id, [Upload(*sighting)]) == {}
        assert known_images(connection, STREAM, [sighting]) == {sighting: image_id}
        assert lock_keys(connection, ["a"]) == {}
        answered = KeptSubmission("a", b"digest", "once", scan_id, [image_id])
        add_submission(connection, answered)
        assert lock_keys(connection, ["a"]) == {"a": answered}
        assert image_answer(connection, image_id) is not None
        connection.exec_driver_sql("RESET ROLE")
        connection.exec_driver_sql("UPDATE ledger.scans SET created_at = now() - interval '1 day'")
        connection.exec_driver_sql("SET ROLE fakesweep_producer")
        record_unreadable(connection, DeadLetter("uploads", "the message is no JSON", "hello"))
        assert close_past_days(connection) == [scan_id]
        connection.exec_driver_sql("RESET ROLE")
