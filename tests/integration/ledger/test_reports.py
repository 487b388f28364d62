import itertools
from datetime import UTC, datetime, timedelta
from uuid import uuid5

import pytest
from sqlalchemy import Engine, text

from fakesweep.schema.errors import DatabaseError, ScanError
from fakesweep.schema.ledger.connection import explained
from fakesweep.schema.ledger.registry.processes import producer_seen, register_worker
from fakesweep.schema.ledger.reports.adhoc import FETCH_ROWS, query
from fakesweep.schema.ledger.reports.progress import progress, recent_scans, sources_of
from fakesweep.schema.ledger.reports.results import (
    RESULT_COLUMNS,
    failure_counts,
    results,
    verdict_counts,
)
from fakesweep.schema.ledger.reports.stalls import Movement, movement
from fakesweep.schema.ledger.scans.scans import ListedImage
from fakesweep.schema.words import Lane, VerdictWord
from tests.integration.ledger.rows import (
    WORKER,
    add_model,
    ask,
    claimed,
    content_of,
    end,
    failed,
    judged,
    record,
    run,
    scan,
    store,
    take,
    take_one,
    value,
)
from tests.support.batches import record_batch


def test_a_scan_that_does_not_exist_is_refused(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(ScanError, match="there is no scan 7"):
        progress(connection, 7)


def test_a_scan_is_listing_then_running_then_finished(engine: Engine) -> None:
    scan_id = ask(engine, name="50% off\udcff", lane=Lane.LIVE, models=["a", "b"])

    def state() -> tuple[str, int, int]:
        with engine.connect() as connection:
            found = progress(connection, scan_id)
        return found.state, found.submitted, found.pending

    assert state() == ("listing", 0, 0)
    record(engine, scan_id, ["s3://photos/1"])
    assert state() == ("listing", 1, 1)
    first = take_one(engine, Lane.LIVE)
    store(engine, claimed(engine, first.batch_id), [failed(first.images[0])])
    assert state() == ("listing", 1, 0)
    record(engine, scan_id, ["s3://photos/2"])
    end(engine, scan_id)
    assert state() == ("running", 2, 1)
    second = take_one(engine, Lane.LIVE)
    held = claimed(engine, second.batch_id)
    assert state() == ("running", 2, 1)
    store(engine, held, [failed(second.images[0])])
    assert state() == ("finished", 2, 0)
    with engine.connect() as connection:
        found = progress(connection, scan_id)
        assert sources_of(connection, scan_id) == ["s3://photos/"]
    assert (found.name, found.lane, found.models) == ("50% off?", "live", ("a", "b"))
    assert found.policy == "default"
    assert found.ended == found.failed == 2
    assert found.finished_at is not None
    assert found.listed_at is not None
    assert found.finished_at >= found.listed_at >= found.created_at
    assert found.seconds_left is None


def test_rate_and_time_left_are_told_from_the_last_minute(engine: Engine) -> None:
    scan_id = ask(engine)
    for number in range(4):
        record(engine, scan_id, [f"s3://photos/{number}/{n}" for n in range(30)])
    end(engine, scan_id)
    messages = take(engine)
    for message in messages[:2]:
        held = claimed(engine, message.batch_id)
        store(engine, held, [failed(image) for image in message.images])
    run(engine, "UPDATE ledger.scans SET created_at = now() - interval '2 hours'")
    run(engine, "UPDATE ledger.batches SET published_at = now() - interval '1 hour'")
    run(
        engine,
        "UPDATE ledger.batches SET finished_at = now() - interval '61 seconds' WHERE batch_id = :b",
        b=messages[0].batch_id,
    )
    with engine.connect() as connection:
        found = progress(connection, scan_id)
    assert (found.state, found.pending) == ("running", 60)
    assert found.images_per_second == 0.5
    assert found.seconds_left == 120.0
    run(engine, "UPDATE ledger.batches SET published_at = now() - interval '15 seconds'")
    with engine.connect() as connection:
        found = progress(connection, scan_id)
    assert found.images_per_second == pytest.approx(2.0, rel=0.1)
    assert found.seconds_left == pytest.approx(30.0, rel=0.1)


def test_a_scan_that_stands_still_has_no_time_left_to_tell(engine: Engine) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1"])
    end(engine, scan_id)
    with engine.connect() as connection:
        found = progress(connection, scan_id)
    assert (found.state, found.images_per_second, found.seconds_left) == ("running", 0.0, None)


def test_a_scan_without_an_image_is_finished_when_it_is_listed(engine: Engine) -> None:
    scan_id = ask(engine)
    end(engine, scan_id)
    with engine.connect() as connection:
        found = progress(connection, scan_id)
    assert (found.state, found.submitted, found.pending) == ("finished", 0, 0)
    assert found.images_per_second == 0.0
    assert found.finished_at == found.listed_at


def test_a_finished_scan_tells_its_rate_over_its_whole_life(engine: Engine) -> None:
    model = add_model(engine)
    scan_id, _ = scan(engine, {f"s3://photos/{n}": {model: 0.5} for n in range(40)})
    run(
        engine,
        "UPDATE ledger.scans SET created_at = "
        "(SELECT max(finished_at) FROM ledger.batches) - interval '20 seconds'",
    )
    with engine.connect() as connection:
        found = progress(connection, scan_id)
    assert found.images_per_second == pytest.approx(2.0, rel=0.01)
    assert found.finished_at is not None
    assert found.finished_at - found.created_at >= timedelta(seconds=20)


def test_what_could_move_a_scan_is_counted_for_it_alone(engine: Engine) -> None:
    other, scan_id = (ask(engine, sources=[("/photos/", "nas-1")]) for _ in range(2))
    record(engine, other, ["s3://photos/1"])
    for number in range(6):
        record(engine, scan_id, [f"s3://photos/{number}/{n}" for n in range(3)])
    messages = [one for one in take(engine, window=6) if one.scan_id == scan_id]
    done, running, late, alone, _ = messages
    store(engine, claimed(engine, done.batch_id), [failed(image) for image in done.images])
    for message in (running, late, alone):
        claimed(engine, message.batch_id)
    change = "UPDATE ledger.batches SET {} WHERE batch_id = :b"
    run(engine, change.format("lease_until = now() - interval '1 second'"), b=late.batch_id)
    run(engine, change.format("lane = 'quarantine'"), b=alone.batch_id)
    run(engine, change.format("published_at = '2026-11-20 12:00+00'"), b=running.batch_id)
    found = _movement(engine, scan_id)
    assert (found.recorded, found.published, found.running, found.expired) == (1, 1, 3, 1)
    assert found.running_since == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert found.quarantined == 3
    assert list(found.listed_by) == ["nas-1"]
    end(engine, scan_id)
    assert list(_movement(engine, scan_id).listed_by) == []


def test_workers_and_producers_that_left_or_fell_silent_are_not_counted_on(engine: Engine) -> None:
    scan_id = ask(engine)
    with engine.begin() as connection:
        for name in ("here", "left", "silent"):
            register_worker(
                connection, uuid5(WORKER, name), hostname=name, pid=1, device="cpu", version="1"
            )
            producer_seen(connection, uuid5(WORKER, name), hostname=name, pid=2, version="1")
    for table in ("workers", "producers"):
        run(engine, f"UPDATE ledger.{table} SET stopped_at = now() WHERE hostname = 'left'")
        run(
            engine,
            f"UPDATE ledger.{table} SET seen_at = now() - interval '45 seconds' "
            f"WHERE hostname = 'silent'",
        )
    found = _movement(engine, scan_id)
    assert (found.workers, list(found.producers)) == (1, ["here"])


def _movement(engine: Engine, scan_id: int) -> Movement:
    with engine.connect() as connection:
        return movement(connection, scan_id, within_seconds=30)


def test_scans_are_counted_apart_and_the_newest_come_first(engine: Engine) -> None:
    model = add_model(engine)
    first, _ = scan(engine, {f"s3://a/{n}": {model: 0.5} for n in range(3)})
    second = ask(engine)
    record(engine, second, ["s3://b/1", "s3://b/2"])
    third = ask(engine)
    with engine.connect() as connection:
        found = recent_scans(connection)
        assert [one.scan_id for one in recent_scans(connection, limit=2)] == [third, second]
    assert [(one.scan_id, one.submitted, one.pending) for one in found] == [
        (third, 0, 0),
        (second, 2, 2),
        (first, 3, 0),
    ]


def _mixed_scan(engine: Engine) -> int:
    """Return a scan of five images: one failed, one reused, two models, one still pending."""
    one, two = add_model(engine, "one"), add_model(engine, "two")
    scan(engine, {"s3://photos/0": {one: 0.9, two: 0.05}})
    scan_id = ask(engine, models=["one", "two"])
    record(engine, scan_id, [f"s3://photos/{n}" for n in (3, 0, 2)])
    with engine.begin() as connection:
        bad = ListedImage("list.txt:9", "9", unreadable="no URI")
        record_batch(connection, scan_id, 0, [bad])
    record(engine, scan_id, ["s3://photos/1"])
    message = take(engine)[0]
    held = claimed(engine, message.batch_id)
    a, b, c = message.images
    store(
        engine,
        held,
        [
            judged(held, a, content_of(a.uri), {one: 0.1, two: 0.7}),
            judged(held, b, content_of(b.uri), {one: 0.9, two: 0.05}, known=True),
            failed(c),
        ],
    )
    return scan_id


def test_results_come_in_listing_order_once_for_each_model(engine: Engine) -> None:
    scan_id = _mixed_scan(engine)
    with engine.connect() as connection:
        found = list(results(connection, scan_id))
    assert all(tuple(row.keys()) == RESULT_COLUMNS for row in found)
    assert [
        (row["uri"], row["status"], row["model"], row["verdict"], row["failure_code"])
        for row in found
    ] == [
        ("s3://photos/3", "classified", "one", "real", None),
        ("s3://photos/3", "classified", "two", "uncertain", None),
        ("s3://photos/0", "reused", "one", "fake", None),
        ("s3://photos/0", "reused", "two", "real", None),
        ("s3://photos/2", "failed", None, None, "not_found"),
        ("list.txt:9", "failed", None, None, "invalid_uri"),
    ]
    first, last = found[0], found[-1]
    assert first["scores"] == {"real": 0.9, "fake": 0.1}
    assert first["kind"] is None
    assert found[1]["kind"] == "unknown"
    assert (first["p_fake"], first["policy"], first["model_revision"]) == (0.1, "default", "r1")
    assert (first["width"], first["height"], first["format"]) == (64, 48, "JPEG")
    assert first["sha256"] == content_of("s3://photos/3").sha256.hex()
    assert first["classified_at"] is not None
    assert (last["scores"], last["failure_message"]) == (None, "no URI")


def test_results_can_be_told_by_verdict_and_by_failure(engine: Engine) -> None:
    scan_id = _mixed_scan(engine)
    with engine.connect() as connection:
        fakes = list(results(connection, scan_id, VerdictWord.FAKE))
        failures = list(results(connection, scan_id, only_failed=True))
        both = list(results(connection, scan_id, VerdictWord.FAKE, only_failed=True))
        assert failure_counts(connection, scan_id) == {"invalid_uri": 1, "not_found": 1}
        assert verdict_counts(connection, scan_id) == {
            "one": {"real": 1, "fake": 1},
            "two": {"real": 1, "uncertain": 1},
        }
    assert [(row["uri"], row["model"]) for row in fakes] == [("s3://photos/0", "one")]
    assert [row["failure_code"] for row in failures] == ["not_found", "invalid_uri"]
    assert both == []


def test_results_are_read_as_they_are_asked_for(engine: Engine) -> None:
    model = add_model(engine)
    count = 3 * FETCH_ROWS
    scan_id, _ = scan(engine, {f"s3://photos/{n:04}": {model: 0.5} for n in range(count)})
    with engine.connect() as connection:
        stream = results(connection, scan_id)
        assert next(stream)["uri"] == "s3://photos/0000"
        assert connection.execute(text("SELECT count(*) FROM pg_cursors")).scalar_one() == 1
        assert sum(1 for _ in stream) == count - 1
        connection.execute(text("UPDATE ledger.scans SET name = 'still writable'"))


def test_a_query_gives_columns_and_rows_however_many(engine: Engine) -> None:
    with engine.connect() as connection:
        columns, found = query(
            connection, "SELECT n, n * 2 AS twice FROM generate_series(1, 2500) n;"
        )
        assert columns == ["n", "twice"]
        assert list(itertools.islice(found, 2)) == [(1, 2), (2, 4)]
        assert sum(1 for _ in found) == 2_498


@pytest.mark.parametrize(
    ("sql", "columns", "expected"),
    [
        ("SELECT 1 WHERE false", ["?column?"], []),
        ("SELECT 1 AS a, 2 AS a; -- twice", ["a", "a"], [(1, 2)]),
        ("TABLE policies LIMIT 0", ["policy_id", "name", "real_below", "fake_above", "created_at",
                                    "is_current", "scans"], []),
        ("  VALUES ('100%', '%s %(x)s', ':y', 'a;b');  ",
         ["column1", "column2", "column3", "column4"], [("100%", "%s %(x)s", ":y", "a;b")]),
        ("SHOW transaction_read_only", ["transaction_read_only"], [("on",)]),
        ("WITH x AS (SELECT 'ä' AS é) SELECT é FROM x", ["é"], [("ä",)]),
    ],
)  # fmt: skip
def test_queries_of_every_shape_run(
    engine: Engine, sql: str, columns: list[str], expected: list[tuple[object, ...]]
) -> None:
    with engine.connect() as connection:
        named, found = query(connection, sql)
        assert (named, [tuple(row) for row in found]) == (columns, expected)


WRITES = [
    "DELETE FROM ledger.policies",
    "DELETE FROM ledger.policies RETURNING 1",
    "WITH x AS (DELETE FROM ledger.policies RETURNING 1) SELECT * FROM x",
    "SELECT set_policy('default', 0, 0)",
    "SELECT rejudge(1, 'card')",
    "SELECT nextval('ledger.scans_scan_id_seq')",
    "SELECT * FROM ledger.policies FOR UPDATE",
    "SELECT * INTO ledger.stolen FROM ledger.policies",
    "SELECT lo_create(0)",
    "EXPLAIN ANALYZE DELETE FROM ledger.policies",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT set_config('transaction_read_only', 'off', true)",
    "SET TRANSACTION READ WRITE",
    "COMMIT",
    "ROLLBACK; DELETE FROM ledger.policies",
    "SELECT 1; COMMIT; DELETE FROM ledger.policies",
    "COPY ledger.policies TO PROGRAM 'true'",
    "DO $$ BEGIN DELETE FROM ledger.policies; END $$",
    "CREATE TABLE ledger.stolen ()",
    "TRUNCATE ledger.policies",
    "VACUUM",
    "CALL nothing()",
    "",
    ";",
    "-- nothing",
    "SELEKT 1",
    "SELECT * FROM nowhere",
    "SELECT 1 / (n - 2000) FROM generate_series(1, 3000) n",
]


@pytest.mark.parametrize("sql", WRITES)
def test_what_is_not_one_reading_query_is_refused_in_one_line(
    engine: Engine, database_url: str, sql: str
) -> None:
    with pytest.raises(DatabaseError) as refusal, explained(database_url):
        _read_all(engine, sql)
    assert "\n" not in str(refusal.value)
    assert value(engine, "SELECT count(*) FROM ledger.policies") == 2
    assert value(engine, "SELECT real_below FROM policies WHERE name = 'default'") == 0.2


def _read_all(engine: Engine, sql: str) -> None:
    with engine.connect() as connection:
        _, found = query(connection, sql)
        list(found)
        connection.commit()


def test_more_than_one_statement_is_refused_with_what_can_be_done(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(DatabaseError, match="one reading query"):
        query(connection, "SELECT 1; SELECT 2")


def test_a_query_leaves_the_connection_writable_for_others(engine: Engine) -> None:
    with engine.connect() as connection:
        query(connection, "SELECT 1")
        connection.rollback()
        connection.execute(text("UPDATE ledger.policies SET name = 'own' WHERE name = 'none'"))
