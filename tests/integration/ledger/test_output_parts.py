"""Parts of outputs: each ended image is in one, by any writer at any time."""

from collections import Counter

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.batches.recovery import requeue_expired
from fakesweep.schema.ledger.outputs.parts import (
    add_output,
    end_output,
    part_rows,
    reopen_outputs,
    unwritten_part,
)
from fakesweep.schema.ledger.outputs.summary import read_output_summary
from fakesweep.schema.ledger.scans.control import cancel_scan
from fakesweep.schema.ledger.scans.scans import ListedImage
from tests.integration.ledger.outputs import (
    HERE,
    cut,
    cut_all,
    finish,
    images_of,
    mark,
    output_scan,
    retry,
    to_write,
)
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
from tests.integration.ledger.scan_control import steer
from tests.support.batches import record_batch


def test_a_part_is_cut_by_its_lines_by_its_age_or_at_the_end(engine: Engine) -> None:
    scan_id = output_scan(engine, batches=3)
    first, second, third = take(engine)
    assert cut(engine, scan_id, lines=3) is None
    finish(engine, first)
    assert cut(engine, scan_id, lines=4) is None
    assert cut(engine, scan_id, lines=3) == 1
    finish(engine, second)
    assert cut(engine, scan_id, lines=4, seconds=60) is None
    run(engine, "UPDATE ledger.batches SET finished_at = finished_at - interval '61 seconds'")
    assert cut(engine, scan_id, lines=4, seconds=60) == 2
    finish(engine, third)
    assert cut(engine, scan_id) == 3
    assert cut(engine, scan_id) is None
    images = [images_of(engine, scan_id, part) for part in (1, 2, 3)]
    assert images == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_a_part_has_whole_batches_and_no_more_than_it_takes_to_fill_it(engine: Engine) -> None:
    scan_id = output_scan(engine, batches=7)
    for message in take(engine):
        finish(engine, message)
    assert [len(images) for images in cut_all(engine, scan_id, lines=5)] == [6, 6, 6, 3]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_whatever_the_order_batches_end_in_each_image_is_in_one_part(
    engine: Engine, order: tuple[int, ...]
) -> None:
    scan_id = output_scan(engine, batches=4)
    messages = take(engine)
    found: list[int] = []
    for number in order:
        finish(engine, messages[number])
        for images in cut_all(engine, scan_id, lines=1):
            found += images
    assert sorted(found) == list(range(1, 13))
    assert value(engine, "SELECT from_batch_id FROM ledger.outputs") in (3, 4, 2, 1)


def test_all_lines_of_a_large_scan_are_in_one_part_each(engine: Engine) -> None:
    scan_id = output_scan(engine, batches=30, images=7)
    found: Counter[int] = Counter()
    for number, message in enumerate(take(engine)):
        finish(engine, message)
        if number % 4 == 3:
            for images in cut_all(engine, scan_id, lines=10):
                found.update(images)
    for images in cut_all(engine, scan_id, lines=10):
        found.update(images)
    ended = tuples(engine, "SELECT image_id FROM ledger.outcomes")
    assert found == Counter(image_id for (image_id,) in ended)
    assert len(found) == 210


def test_a_batch_that_comes_to_light_behind_its_successors_is_found_at_the_end(
    engine: Engine,
) -> None:
    scan_id = ask(engine, sources=[("s3://photos/", None), ("s3://others/", None)])
    with engine.begin() as connection:
        add_output(connection, scan_id, "s3://out/", None)
    with engine.connect() as late:
        record_batch(late, scan_id, 1, [ListedImage("s3://others/late", "")])
        record(engine, scan_id, ["s3://photos/1"])
        record(engine, scan_id, ["s3://photos/2"])
        first, second = take(engine)
        finish(engine, first)
        assert cut_all(engine, scan_id) == [[2]]
        late.commit()
    assert value(engine, "SELECT from_batch_id FROM ledger.outputs") == second.batch_id
    end(engine, scan_id)
    for message in (second, take_one(engine)):
        finish(engine, message)
    assert sorted(image for part in cut_all(engine, scan_id) for image in part) == [1, 3]


def test_what_ended_in_a_batch_that_nobody_will_take_up_any_more_has_its_line(
    engine: Engine,
) -> None:
    scan_id = output_scan(engine, listed=False)
    good = ListedImage("s3://photos/good", "1")
    bad = ListedImage("s3://m.jsonl#line-2", "2", unreadable="is not JSON")
    with engine.begin() as connection:
        record_batch(connection, scan_id, 0, [good, bad])
    message = take_one(engine)
    held = claimed(engine, message.batch_id)
    run(engine, "UPDATE ledger.batches SET lease_until = now() - interval '1 second'")
    steer(engine, cancel_scan, scan_id)
    with engine.begin() as connection:
        requeue_expired(connection)
    assert cut_all(engine, scan_id) == [[2]]
    outcome = failed(message.images[0])
    assert not store(engine, held, [outcome]), "its line would be missing"


def test_a_part_that_was_cut_and_not_written_is_the_next_to_write(engine: Engine) -> None:
    scan_id = output_scan(engine, batches=2)
    first, second = take(engine)
    finish(engine, first)
    assert cut(engine, scan_id, seconds=0) == 1
    finish(engine, second)
    with engine.connect() as connection:
        assert unwritten_part(connection, scan_id) == 1
    assert images_of(engine, scan_id, 1) == [1, 2, 3]
    mark(engine, scan_id, 1)
    with engine.connect() as connection:
        assert unwritten_part(connection, scan_id) is None


def test_a_row_has_what_every_model_said_and_the_rows_of_an_image_stand_together(
    engine: Engine,
) -> None:
    one, other = add_model(engine, "one"), add_model(engine, "other")
    scan_id = ask(engine, models=("one", "other"))
    with engine.begin() as connection:
        add_output(connection, scan_id, "/out", HERE)
    record(engine, scan_id, ["s3://photos/a", "s3://photos/b"])
    end(engine, scan_id)
    message = take_one(engine)
    held = claimed(engine, message.batch_id)
    good, bad = message.images
    fake = judged(held, good, content_of(1), {other: 0.9, one: 0.1})
    assert store(engine, held, [fake, failed(bad)])
    part = cut(engine, scan_id)
    assert part is not None
    with engine.connect() as connection:
        rows = list(part_rows(connection, scan_id, part))
    assert [(row["uri"], row["model"], row["verdict"], row["p_fake"]) for row in rows] == [
        ("s3://photos/a", "one", "real", 0.1),
        ("s3://photos/a", "other", "fake", 0.9),
        ("s3://photos/b", None, None, None),
    ]
    assert rows[0]["sha256"] == content_of(1).sha256.hex()
    assert rows[2]["failure_code"] == "not_found"


def test_images_that_run_again_get_a_newer_line_in_a_later_part(engine: Engine) -> None:
    scan_id = output_scan(engine, batches=2)
    for message in take(engine):
        finish(engine, message)
    assert cut_all(engine, scan_id, lines=3) == [[1, 2, 3], [4, 5, 6]]
    with engine.begin() as connection:
        told = read_output_summary(connection, scan_id)
    assert told is not None
    with engine.begin() as connection:
        end_output(connection, scan_id, told.standing.last_batch_id)
        assert reopen_outputs(connection) == 0
    assert to_write(engine) == []
    assert retry(engine, scan_id) == 6
    with engine.begin() as connection:
        assert reopen_outputs(connection) == 1
    assert to_write(engine) == [scan_id]
    assert cut_all(engine, scan_id) == []
    with engine.begin() as connection:
        assert read_output_summary(connection, scan_id) is None
    finish(engine, take_one(engine))
    assert cut_all(engine, scan_id) == [[1, 2, 3, 4, 5, 6]]


def test_images_that_run_again_leave_a_part_that_was_not_written_yet(engine: Engine) -> None:
    scan_id = output_scan(engine, batches=1)
    finish(engine, take_one(engine))
    assert cut(engine, scan_id) == 1
    assert retry(engine, scan_id) == 3
    assert images_of(engine, scan_id, 1) == []
    mark(engine, scan_id, 1)
    finish(engine, take_one(engine))
    assert cut_all(engine, scan_id) == [[1, 2, 3]]


def test_a_batch_that_all_images_have_left_makes_no_part(engine: Engine) -> None:
    scan_id = output_scan(engine, batches=2)
    first, _ = take(engine)
    finish(engine, first)
    assert retry(engine, scan_id) == 3
    assert cut_all(engine, scan_id) == []
