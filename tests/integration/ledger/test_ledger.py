import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.batches.publishing import take_recorded
from fakesweep.schema.ledger.scans.listing import end_listing
from fakesweep.schema.ledger.scans.scans import (
    ListedImage,
    SourceLeft,
    lock_listing,
    scans_to_list,
    sources_left,
    unlock_listing,
)
from fakesweep.schema.ledger.scans.source_parts import parts_left
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import (
    ask,
    claimed,
    end,
    failed,
    listed,
    record,
    rows,
    store,
    take,
    take_one,
    tuples,
    value,
)
from tests.support.batches import end_source, record_batch
from tests.support.servers import wait_until


def _cursor(engine: Engine, scan_id: int) -> str | None:
    with engine.connect() as connection:
        return parts_left(connection, scan_id)[0].cursor


def test_the_cursor_moves_in_the_transaction_that_records_the_images(engine: Engine) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1", "s3://photos/2"])
    assert _cursor(engine, scan_id) == "s3://photos/2"
    with engine.connect() as connection:
        record_batch(connection, scan_id, 0, listed(["s3://photos/3"]))
        connection.rollback()
    assert _cursor(engine, scan_id) == "s3://photos/2"
    assert value(engine, "SELECT count(*) FROM ledger.images") == 2
    assert value(engine, "SELECT count(*) FROM ledger.batches") == 1


def test_what_a_source_says_of_an_image_is_recorded(engine: Engine) -> None:
    scan_id = ask(engine)
    when = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
    with engine.begin() as connection:
        known = ListedImage("s3://photos/a", "1", 2**40, '"e\'t\\ag%s"', when)
        record_batch(connection, scan_id, 0, [known, ListedImage("s3://photos/b", "2")])
    assert tuples(
        engine, "SELECT uri, size_bytes, etag, modified_at FROM ledger.images ORDER BY image_id"
    ) == [
        ("s3://photos/a", 2**40, '"e\'t\\ag%s"', when),
        ("s3://photos/b", None, None, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "key", ["100%.jpg", "%s%(a)s", "it's", 'a"b{c}', "back\\slash", ":scan_id", "{NULL,1}", "é\n "]
)
def test_a_uri_is_recorded_to_the_letter(engine: Engine, key: str) -> None:
    uri = f"s3://photos/{key}"
    scan_id = ask(engine)
    record(engine, scan_id, [uri])
    assert take_one(engine).images[0].uri == uri
    assert _cursor(engine, scan_id) == uri


def test_the_longest_uri_fits_its_index(engine: Engine) -> None:
    uri = "s3://photos/" + os.urandom(1_018).hex()
    assert len(uri) == 2_048
    assert record(engine, ask(engine), [uri]) == 1


def test_images_keep_the_order_in_which_they_were_listed(engine: Engine) -> None:
    uris = [f"s3://photos/{number * 7919 % 500:03}" for number in range(500)]
    record(engine, ask(engine), uris)
    assert [image.uri for image in take_one(engine).images] == uris


def test_an_image_the_scan_has_already_is_passed_over(engine: Engine) -> None:
    scan_id = ask(engine)
    assert record(engine, scan_id, ["s3://photos/1", "s3://photos/2", "s3://photos/1"]) == 2
    assert record(engine, scan_id, ["s3://photos/2", "s3://photos/3"]) == 1
    assert [len(message.images) for message in take(engine)] == [2, 1]
    assert record(engine, ask(engine), ["s3://photos/1"]) == 1


def test_a_batch_of_duplicates_alone_is_not_kept_but_the_cursor_moves(engine: Engine) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1", "s3://photos/2"])
    assert record(engine, scan_id, ["s3://photos/2", "s3://photos/1"]) == 0
    assert value(engine, "SELECT count(*) FROM ledger.batches") == 1
    assert _cursor(engine, scan_id) == "s3://photos/1"


def test_an_unreadable_line_becomes_a_failed_image_beside_the_others(engine: Engine) -> None:
    scan_id = ask(engine)
    with engine.begin() as connection:
        bad = ListedImage("list.txt:2", "2", unreadable="line 2: 50% is\tno URI \x00\udcff")
        record_batch(connection, scan_id, 0, [*listed(["s3://photos/1"]), bad])
    message = take_one(engine)
    assert [image.uri for image in message.images] == ["s3://photos/1"]
    (row,) = rows(engine, "SELECT * FROM failures")
    assert (row["uri"], row["code"]) == ("list.txt:2", "invalid_uri")
    assert row["message"] == "line 2: 50% is\tno URI \ufffd?"
    held = claimed(engine, message.batch_id)
    assert store(engine, held, [failed(message.images[0])])
    (batch,) = tuples(engine, "SELECT state, image_count, failed_count FROM ledger.batches")
    assert batch == ("done", 2, 2)


def test_a_batch_of_unreadable_lines_alone_is_done_at_once(engine: Engine) -> None:
    scan_id = ask(engine)
    with engine.begin() as connection:
        bad = [ListedImage(f"list.txt:{n}", str(n), unreadable="no URI") for n in (1, 2)]
        assert record_batch(connection, scan_id, 0, bad) == 2
    end(engine, scan_id)
    assert take(engine) == []
    (row,) = tuples(engine, "SELECT state, submitted, failed, pending FROM scan_progress")
    assert row == ("finished", 2, 2, 0)


def test_sources_are_listed_in_order_and_leave_when_they_are_done(engine: Engine) -> None:
    scan_id = ask(engine, sources=[("s3://a/", None), ("/photos", "north")])
    with engine.begin() as connection:
        assert sources_left(connection, scan_id) == [
            SourceLeft(0, "s3://a/", None),
            SourceLeft(1, "/photos", "north"),
        ]
        end_source(connection, scan_id, 0)
        assert [left.source for left in sources_left(connection, scan_id)] == ["/photos"]


def test_a_host_lists_the_scans_whose_every_source_it_can_reach(engine: Engine) -> None:
    anywhere = ask(engine)
    north = ask(engine, sources=[("s3://a/", None), ("/photos", "north")])
    south = ask(engine, sources=[("/photos", "south")])
    with engine.begin() as connection:
        assert scans_to_list(connection, "north") == [anywhere, north]
        assert scans_to_list(connection, "south") == [anywhere, south]
        end_source(connection, north, 1)
        assert scans_to_list(connection, "south") == [anywhere, north, south]
        end_listing(connection, anywhere)
        assert scans_to_list(connection, "north") == [north]


def test_standard_input_is_listed_by_the_command_that_reads_it_alone(engine: Engine) -> None:
    ask(engine, sources=[("-", "north")])
    with engine.connect() as connection:
        assert scans_to_list(connection, "north") == []


def test_the_end_of_a_listing_is_recorded_once(engine: Engine) -> None:
    scan_id = ask(engine)
    end(engine, scan_id)
    first = value(engine, "SELECT listed_at FROM ledger.scans")
    end(engine, scan_id)
    assert value(engine, "SELECT listed_at FROM ledger.scans") == first


def test_one_process_lists_a_scan_until_it_unlocks_or_is_gone(engine: Engine) -> None:
    scan_id, other = ask(engine), ask(engine)
    with engine.connect() as one, engine.connect() as two:
        assert lock_listing(one, scan_id)
        assert not lock_listing(two, scan_id)
        assert lock_listing(two, other)
        unlock_listing(one, scan_id)
        assert lock_listing(two, scan_id)
        two.invalidate()
        wait_until(lambda: lock_listing(one, scan_id), "the lock of a lost connection is free")


def test_no_more_batches_are_published_than_the_window_holds(engine: Engine) -> None:
    scan_id = ask(engine)
    for number in range(5):
        record(engine, scan_id, [f"s3://photos/{number}"])
    first = take(engine, window=3)
    assert [message.batch_id for message in first] == sorted(m.batch_id for m in first)
    assert len(first) == 3
    assert take(engine, window=3) == []
    held = claimed(engine, first[0].batch_id)
    assert take(engine, window=3) == []
    store(engine, held, [failed(first[0].images[0])])
    assert len(take(engine, window=3)) == 1
    assert take(engine, window=0) == []


def test_each_lane_has_its_own_window(engine: Engine) -> None:
    record(engine, ask(engine, lane=Lane.BULK), ["s3://photos/old"])
    live = ask(engine, lane=Lane.LIVE)
    record(engine, live, ["s3://photos/new"])
    message = take_one(engine, Lane.LIVE)
    assert (message.lane, message.scan_id) == (Lane.LIVE, live)
    assert take(engine, Lane.LIVE) == []
    assert take_one(engine, Lane.BULK).lane is Lane.BULK


def test_takers_at_the_same_time_share_the_window_and_never_a_batch(engine: Engine) -> None:
    scan_id = ask(engine)
    for number in range(6):
        record(engine, scan_id, [f"s3://photos/{number}"])

    def second() -> list[BatchMessage]:
        return take(engine, window=4)

    with ThreadPoolExecutor(1) as thread:
        with engine.begin() as connection:
            first = take_recorded(connection, Lane.BULK, 3)
            waiting = thread.submit(second)
            wait_until(lambda: _waits_for_lock(engine), "the second taker waits for the first")
        taken = [message.batch_id for message in [*first, *waiting.result()]]
    assert len(taken) == len(set(taken)) == 4


def test_many_takers_and_workers_bring_every_batch_to_one_end(engine: Engine) -> None:
    scan_id = ask(engine)
    for number in range(60):
        record(engine, scan_id, [f"s3://photos/{number}"])

    def work(_: int) -> list[int]:
        done = []
        while messages := take(engine, window=8):
            for message in messages:
                held = claimed(engine, message.batch_id)
                assert store(engine, held, [failed(message.images[0])])
                done.append(message.batch_id)
        return done

    with ThreadPoolExecutor(4) as threads:
        done = [batch_id for each in threads.map(work, range(4)) for batch_id in each]
    done += work(0)
    assert len(done) == len(set(done)) == 60


def _waits_for_lock(engine: Engine) -> bool:
    return bool(value(engine, "SELECT count(*) FROM pg_locks WHERE NOT granted"))
