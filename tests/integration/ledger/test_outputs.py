"""Outputs in the ledger: completeness, summary, and the lock of the writer."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine

from fakesweep.schema.errors import OutputError
from fakesweep.schema.ledger.outputs.parts import (
    add_output,
    end_output,
    lock_output,
    make_part,
    output_of,
    outputs_to_write,
    part_rows,
    record_trouble,
    record_written,
    reopen_outputs,
    standing,
    unlock_output,
)
from fakesweep.schema.ledger.outputs.summary import SHOWN_ERRORS, read_output_summary
from fakesweep.schema.ledger.scans.control import cancel_scan, pause_scan, resume_scan
from fakesweep.schema.ledger.scans.idempotency import set_token, take_token
from tests.integration.ledger.outputs import (
    HERE,
    cut,
    cut_all,
    finish,
    has_ended,
    mark,
    output_scan,
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
    value,
)
from tests.integration.ledger.scan_control import in_background, steer


def test_a_scan_has_ended_when_nothing_more_can_come_of_it(engine: Engine) -> None:
    scan_id = output_scan(engine, batches=2, listed=False)
    assert not has_ended(engine, scan_id)
    end(engine, scan_id)
    first, _ = take(engine)
    finish(engine, first)
    assert not has_ended(engine, scan_id)
    steer(engine, pause_scan, scan_id)
    assert not has_ended(engine, scan_id)
    steer(engine, resume_scan, scan_id)
    finish(engine, take_one(engine))
    assert has_ended(engine, scan_id)


def test_a_cancelled_scan_has_ended_when_no_worker_has_any_of_it(engine: Engine) -> None:
    scan_id = output_scan(engine, batches=2)
    first, _ = take(engine)
    held = claimed(engine, first.batch_id)
    steer(engine, cancel_scan, scan_id)
    assert not has_ended(engine, scan_id)
    assert store(engine, held, [failed(image) for image in first.images])
    assert has_ended(engine, scan_id)
    assert cut_all(engine, scan_id) == [[1, 2, 3]]


def test_nothing_is_told_of_an_output_before_every_line_is_written(engine: Engine) -> None:
    scan_id = output_scan(engine, batches=1)

    def told() -> object:
        with engine.begin() as connection:
            return read_output_summary(connection, scan_id)

    assert told() is None
    finish(engine, take_one(engine))
    assert told() is None
    assert cut(engine, scan_id) == 1
    assert told() is None
    mark(engine, scan_id, 1)
    assert told() is not None


def test_a_summary_names_the_first_errors_and_counts_them_all(engine: Engine) -> None:
    count = SHOWN_ERRORS + 5
    scan_id = output_scan(engine, batches=1, images=count)
    finish(engine, take_one(engine))
    cut_all(engine, scan_id)
    with engine.begin() as connection:
        told = read_output_summary(connection, scan_id)
    assert told is not None
    assert told.failures == {"not_found": count}
    assert [row["image_id"] for row in told.errors] == list(range(1, SHOWN_ERRORS + 1))
    assert [part["file"] for part in told.parts] == ["results/part-000001.jsonl"]


def test_an_output_of_no_image_at_all_is_complete(engine: Engine) -> None:
    scan_id = output_scan(engine)
    assert cut_all(engine, scan_id) == []
    with engine.begin() as connection:
        told = read_output_summary(connection, scan_id)
        assert told is not None
        assert told.standing.last_batch_id == 0


def test_two_scans_never_share_a_destination(engine: Engine) -> None:
    first, second = ask(engine), ask(engine)
    with engine.begin() as connection:
        add_output(connection, first, "/out", "a")
        add_output(connection, second, "/out", "b")
    third = ask(engine)
    with engine.connect() as connection, pytest.raises(OutputError, match=f"scan {first}"):
        add_output(connection, third, "/out", "a")


def test_of_two_that_ask_for_one_destination_at_once_the_later_is_refused(engine: Engine) -> None:
    first, second = ask(engine), ask(engine)

    def ask_second() -> None:
        with engine.begin() as other:
            add_output(other, second, "s3://out/", None)

    with ThreadPoolExecutor(1) as threads:
        with engine.begin() as connection:
            add_output(connection, first, "s3://out/", None)
            waiting = in_background(engine, threads, ask_second)
        with pytest.raises(OutputError, match=f"scan {first}"):
            waiting.result()


def test_a_folder_is_written_on_its_own_machine_only(engine: Engine) -> None:
    mine, bucket = ask(engine), ask(engine)
    with engine.begin() as connection:
        add_output(connection, mine, "/out", HERE)
        add_output(connection, bucket, "s3://out/", None)
    assert to_write(engine, HERE) == [mine, bucket]
    assert to_write(engine, "there") == [bucket]


def test_one_writer_at_a_time_has_an_output(engine: Engine) -> None:
    with engine.connect() as one, engine.connect() as other:
        assert lock_output(one, 1)
        assert not lock_output(other, 1)
        assert lock_output(other, 2)
        unlock_output(one, 1)
        assert lock_output(other, 1)


def test_trouble_is_shown_and_tried_again_after_longer_each_time(engine: Engine) -> None:
    scan_id = output_scan(engine, batches=1)

    def trouble() -> float:
        with engine.begin() as connection:
            record_trouble(connection, scan_id, "the disk is full", 60)
        waits = "SELECT extract(epoch FROM try_at - now())::float FROM ledger.outputs"
        return float(value(engine, waits))

    assert 0 < trouble() <= 1
    assert to_write(engine) == []
    for lasted, waits in ((20, 20), (500, 60)):
        since = "UPDATE ledger.outputs SET troubled_since = now() - make_interval(secs => :s)"
        run(engine, since, s=lasted)
        assert waits - 5 < trouble() < waits + 5
    with engine.connect() as connection:
        report = output_of(connection, scan_id)
    assert report is not None
    assert report.said.startswith(f"s3://out/{scan_id}/: 0 lines in 0 parts; not written on since")
    assert report.said.endswith("the disk is full")
    finish(engine, take_one(engine))
    assert cut(engine, scan_id) == 1
    mark(engine, scan_id, 1)
    assert to_write(engine) == [scan_id]
    with engine.connect() as connection:
        report = output_of(connection, scan_id)
    assert report is not None
    assert report.said == f"s3://out/{scan_id}/: 1 lines in 1 parts, being written"


def test_a_producer_can_do_all_of_it_by_the_rights_of_its_role(engine: Engine) -> None:
    model = add_model(engine)
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1"])
    end(engine, scan_id)
    message = take_one(engine)
    held = claimed(engine, message.batch_id)
    assert store(engine, held, [judged(held, message.images[0], content_of(1), {model: 0.9})])

    def as_producer(connection: Connection) -> None:
        connection.exec_driver_sql("SET ROLE fakesweep_producer")

    with engine.begin() as connection:
        as_producer(connection)
        assert take_token(connection, "t") is None
        set_token(connection, scan_id, "t", {})
        add_output(connection, scan_id, "/out", None)
        assert lock_output(connection, scan_id)
        assert outputs_to_write(connection, HERE) == [scan_id]
        record_trouble(connection, scan_id, "none", 60)
        now = standing(connection, scan_id)
        assert make_part(connection, now, scan_id, part_lines=1, part_seconds=0) == 1
        assert len(list(part_rows(connection, scan_id, 1))) == 1
        record_written(connection, scan_id, 1, lines=1, size_bytes=1, sha256=b"\0" * 32)
        unlock_output(connection, scan_id)
        connection.exec_driver_sql("RESET ROLE")
    with engine.begin() as connection:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        as_producer(connection)
        assert read_output_summary(connection, scan_id) is not None
    with engine.begin() as connection:
        as_producer(connection)
        end_output(connection, scan_id, 1)
        reopen_outputs(connection)
        assert output_of(connection, scan_id) is not None
        connection.exec_driver_sql("SET ROLE fakesweep_analyst")
        assert connection.exec_driver_sql("SELECT * FROM outputs").one()
        assert connection.exec_driver_sql("SELECT * FROM output_parts").one()
