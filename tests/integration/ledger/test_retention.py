"""Retention of scans: deletions, exceptions, and invariants at each step."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from fakesweep.producer.retention import prune as forgetting
from fakesweep.producer.retention.prune import Deleted, forget, plan_forgetting
from fakesweep.schema.errors import RetentionError, ScanError
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.batches.outcomes import known_scores
from fakesweep.schema.ledger.retention import ended_scans
from fakesweep.schema.ledger.retention.ended_scans import clock
from fakesweep.schema.ledger.scans.control import (
    begin_retry,
    cancel_scan,
    pause_scan,
    retry_failures,
)
from tests.integration.ledger.retention import (
    YEAR,
    alone,
    assert_whole,
    count,
    make_old,
    old_scan,
    planned,
    prune,
    scans,
    steps,
    uris,
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
    scan,
    store,
    take,
    tuples,
    value,
)
from tests.integration.ledger.scan_control import in_background, scan_with_four_batches, steer
from tests.integration.ledger.test_audits import URI, audited, counts, found
from tests.integration.ledger.test_audits import record as see


def test_a_scan_that_ended_long_ago_goes_with_all_that_is_known_of_it(engine: Engine) -> None:
    old_scan(engine, "a", "b", "c", batches=2)
    new, _ = scan(engine, {"s3://new/a": {add_model(engine): 0.9}})
    assert prune(engine) == Deleted(scans=1, images=6, verdicts=4, contents=4)
    assert scans(engine) == [new]
    assert uris(engine) == ["s3://new/a"]
    left = ("outcomes", "verdicts", "contents", "predictions", "batches", "scan_sources")
    assert {table: count(engine, table) for table in left} == dict.fromkeys(left, 1)
    assert value(engine, "SELECT count(*) FROM ledger.scan_counts WHERE scan_id <> :s", s=new) == 0


def test_at_each_step_every_scan_accounts_for_all_it_has(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ended_scans, "STEP_IMAGES", 2)
    first = old_scan(engine, "a", "b", "c", batches=3)
    old_scan(engine, "a", "b")
    left = []
    for told in steps(engine):
        assert_whole(engine)
        left.append(value(engine, "SELECT count(*) FROM ledger.images"))
        assert told.images == 11 - left[-1]
    assert sorted({*left}, reverse=True) == [8, 5, 2, 0]
    assert first not in scans(engine)


def test_forgetting_that_was_stopped_goes_on_where_it_was(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ended_scans, "STEP_IMAGES", 2)
    scan_id = old_scan(engine, "a", "b", "c", batches=3)
    stop = threading.Event()
    with alone(engine) as connection:
        plan = plan_forgetting(connection, clock(connection) - YEAR, ())
        for _ in forget(connection, plan, stop):
            stop.set()
    assert_whole(engine)
    [(submitted, is_marked)] = tuples(
        engine, "SELECT submitted, pruned_at IS NOT NULL FROM scan_progress WHERE scan_id = :s",
        s=scan_id,
    )  # fmt: skip
    assert (submitted, is_marked) == (6, True)
    assert prune(engine).images == 6
    assert scans(engine) == []


@pytest.mark.parametrize("action", [pause_scan, None], ids=["paused", "in work"])
def test_a_scan_that_has_not_ended_stays(engine: Engine, action: object) -> None:
    scan_id = scan_with_four_batches(engine)
    if callable(action):
        steer(engine, action, scan_id)
    make_old(engine, scan_id)
    before = uris(engine)
    assert prune(engine).images == 0
    assert (scans(engine), uris(engine)) == ([scan_id], before)
    with pytest.raises(RetentionError, match=f"scan {scan_id} stays: it is (paused|running)"):
        planned(engine, scan_id)


def test_a_scan_that_is_listed_still_or_ended_lately_stays(engine: Engine) -> None:
    lately, _ = scan(engine, {"s3://photos/b": {add_model(engine): 0.1}})
    listing = ask(engine)
    record(engine, listing, ["s3://photos/a"])
    make_old(engine, listing)
    assert planned(engine).scans == []
    with pytest.raises(RetentionError, match="stays: it is listing"):
        planned(engine, listing)
    with pytest.raises(RetentionError, match="stays: it ended later than that"):
        planned(engine, lately)
    with pytest.raises(ScanError, match="there is no scan 77"):
        planned(engine, 77)


def test_a_cancelled_scan_goes_but_not_while_a_worker_has_a_batch_of_it(engine: Engine) -> None:
    scan_id = scan_with_four_batches(engine)
    steer(engine, cancel_scan, scan_id)
    make_old(engine, scan_id)
    with pytest.raises(RetentionError, match="a batch of it is still in work"):
        planned(engine, scan_id)
    run(engine, "UPDATE ledger.batches SET state = 'held' WHERE state = 'running'")
    assert prune(engine).images == 8
    assert scans(engine) == []


def test_only_the_chosen_scans_go(engine: Engine) -> None:
    first, second, third = (old_scan(engine, "a", "b") for _ in range(3))
    prune(engine, second)
    assert scans(engine) == [first, third]


def test_the_newest_audit_of_an_archive_stays_and_the_next_is_held_against_it(
    engine: Engine,
) -> None:
    model = add_model(engine)
    first, _ = audited(engine, [found("a"), found("b"), found("gone")], model)
    second, _ = audited(engine, [found("a"), found("b")], model)
    make_old(engine, first, second)
    prune(engine)
    assert scans(engine) == [first, second]  # whose images the second audit refers to
    assert uris(engine) == [URI.format(name) for name in ("a", "b", "gone")]
    with pytest.raises(RetentionError, match="newest audit of its archive"):
        planned(engine, second)
    third, recorded = audited(engine, [found("a")], model)
    assert (recorded.unchanged, counts(engine, third)) == (1, (1, 0, 0, 0, 1))


def test_images_that_an_audit_saw_unchanged_stay_and_the_others_go(engine: Engine) -> None:
    model = add_model(engine)
    first, _ = audited(engine, [found("a"), found("b"), found("gone")], model)
    second, _ = audited(engine, [found("a"), found("b", "e2")], model)
    third, _ = audited(engine, [found("a"), found("b", "e2")], model)
    make_old(engine, first, second)
    told = prune(engine)
    assert (told.images, told.scans) == (2, 0)
    kept = "SELECT uri, scan_id FROM ledger.images ORDER BY uri"
    assert tuples(engine, kept) == [(URI.format("a"), first), (URI.format("b"), second)]
    seen = "SELECT count(*) FROM audit_images WHERE scan_id = :s"
    assert [value(engine, seen, s=one) for one in (second, third)] == [0, 2]
    changes = "SELECT change FROM audit_changes WHERE scan_id = :s"
    assert tuples(engine, changes, s=second) == [("changed",)]  # but not what vanished
    [(submitted, is_pruned)] = tuples(
        engine, "SELECT submitted, pruned_at IS NOT NULL FROM scan_progress WHERE scan_id = :s",
        s=first,
    )  # fmt: skip
    assert (submitted, is_pruned) == (1, True)
    assert planned(engine).kept_whole == 2  # nothing is left to do


def test_an_audit_that_was_pruned_is_no_measure_for_the_next(engine: Engine) -> None:
    model = add_model(engine)
    first, _ = audited(engine, [found("a"), found("gone")], model)
    second, _ = audited(engine, [found("a"), found("gone")], model)
    make_old(engine, first)
    prune(engine)
    steer(engine, lambda connection, _: connection.exec_driver_sql(
        f"UPDATE ledger.scans SET cancelled_at = now() WHERE scan_id = {second}"), 0)  # fmt: skip
    third, _ = audited(engine, [found("a")], model)
    assert counts(engine, third)[-1] is None


def test_what_an_audit_sees_while_others_forget_stays(engine: Engine) -> None:
    model = add_model(engine)
    first, _ = audited(engine, [found("a"), found("b")], model)
    run(engine, "UPDATE ledger.scans SET archive = NULL")
    make_old(engine, first)
    with alone(engine) as connection:
        plan = plan_forgetting(connection, clock(connection) - YEAR, ())
        assert plan.images == 2
        audited(engine, [found("a")], model)
        told = list(forget(connection, plan, threading.Event()))[-1]
    assert (told.images, uris(engine)) == (1, [URI.format("a")])
    assert_whole(engine)


def test_retention_waits_for_audits_that_record_sightings(engine: Engine) -> None:
    """A page of an uncommitted audit counts, whatever its number."""
    model = add_model(engine)
    first, _ = audited(engine, [found("a"), found("b")], model)
    run(engine, "UPDATE ledger.scans SET archive = NULL")
    make_old(engine, first)
    second = ask(engine, is_audit=True)
    with engine.connect() as audit, ThreadPoolExecutor(1) as threads:
        audit.exec_driver_sql(
            f"INSERT INTO ledger.sightings (scan_id, image_ids) SELECT {second}, "
            f"array_agg(image_id) FROM ledger.images WHERE uri LIKE '%%a.jpg'"
        )
        pruned = in_background(engine, threads, lambda: prune(engine))
        audit.commit()
        assert pruned.result().images == 1
    assert uris(engine) == [URI.format("a")]


def test_a_scan_that_runs_again_since_it_was_planned_stays_with_what_it_refers_to(
    engine: Engine,
) -> None:
    model = add_model(engine)
    first, _ = audited(engine, [found("a"), found("b")], model)
    run(engine, "UPDATE ledger.scans SET archive = NULL")
    second = ask(engine, is_audit=True)
    see(engine, second, [found("a"), found("c")])
    end(engine, second)
    for message in take(engine):
        held = claimed(engine, message.batch_id)
        assert store(engine, held, [failed(one) for one in message.images])
    run(engine, "UPDATE ledger.scans SET archive = NULL")
    make_old(engine, first, second)
    with alone(engine) as connection:
        plan = plan_forgetting(connection, clock(connection) - YEAR, ())
        assert plan.images == 3
        with engine.begin() as other:
            at = begin_retry(other, second)
            run(engine, "UPDATE ledger.outcomes SET finished_at = finished_at - interval '1 day'")
            assert retry_failures(other, second, list(FailureCode), 10, at) == 1
        told = list(forget(connection, plan, threading.Event()))[-1]
    assert told.images == 1
    assert uris(engine) == [URI.format("a"), URI.format("c")]
    assert_whole(engine)


def test_a_scan_that_runs_again_while_it_is_forgotten_keeps_what_it_has_still(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ended_scans, "STEP_IMAGES", 2)
    scan_id = old_scan(engine, "a", "b", "c", batches=3)
    run(engine, "UPDATE ledger.outcomes SET finished_at = finished_at - interval '400 days'")
    walk = steps(engine)
    assert next(walk).images == 3
    with engine.begin() as connection:
        at = begin_retry(connection, scan_id)
        assert retry_failures(connection, scan_id, list(FailureCode), 10, at) == 2
    *_, told = walk
    assert (told.images, told.scans) == (3, 0)
    assert_whole(engine)
    assert planned(engine).scans == []
    assert value(engine, "SELECT pending FROM scan_progress WHERE scan_id = :s", s=scan_id) == 2


def test_only_one_process_forgets_at_a_time(engine: Engine) -> None:
    with alone(engine) as connection:
        plan_forgetting(connection, clock(connection), ())
        with pytest.raises(RetentionError, match="another `fakesweep prune` is at work"):
            planned(engine)
    assert planned(engine).scans == []


def test_a_step_that_met_another_transaction_is_done_again_and_no_other_error_is_passed_over(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_scan(engine, "a", "b")
    codes = ["40P01", "40001"]
    delete_images = ended_scans.delete_images

    def meets_others(connection: Connection, **wanted: Any) -> ended_scans.Deleted:
        step = delete_images(connection, **wanted)
        if codes:
            connection.exec_driver_sql(
                f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{codes.pop()}'; END $$"
            )
        return step

    monkeypatch.setattr(ended_scans, "delete_images", meets_others)
    assert prune(engine) == Deleted(scans=1, images=2, verdicts=1, contents=1)
    old_scan(engine, "a", "b")
    codes.append("23514")
    with pytest.raises(IntegrityError):
        prune(engine)
    assert_whole(engine)


def test_beside_workers_and_audits_nothing_is_lost(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scans with the contents of deleted ones run meanwhile, and get their verdicts."""
    monkeypatch.setattr(ended_scans, "STEP_IMAGES", 1)
    monkeypatch.setattr(forgetting, "BUSY_PAUSE_SECONDS", 0.001)
    model = add_model(engine)
    images = [found(name) for name in "abcdef"]
    old = [audited(engine, [found(one.cursor, f"e{n}") for one in images], model)[0]
           for n in range(6)]  # fmt: skip
    make_old(engine, *old)
    run(engine, "UPDATE ledger.scans SET archive = NULL")
    has_pruned = threading.Event()
    made: list[int] = []

    def work() -> None:
        worker = uuid4()
        while not has_pruned.is_set() or len(made) < 8:
            n = len(made)
            scan_id = ask(engine, is_audit=True)
            see(engine, scan_id, [found(one.cursor, f"e{n % 6}") for one in images])
            end(engine, scan_id)
            for message in take(engine):
                held = claimed(engine, message.batch_id, worker)
                contents = {one: content_of(one.uri) for one in message.images}
                with engine.connect() as connection:
                    digests = [content.sha256 for content in contents.values()]
                    known = {key[0] for key in known_scores(connection, digests, [model])}
                outcomes = [judged(held, one, content, {model: 0.5}, known=content.sha256 in known)
                            for one, content in contents.items()]  # fmt: skip
                assert store(engine, held, outcomes, worker)
            made.append(scan_id)

    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(work)
        for _ in steps(engine):
            pass
        has_pruned.set()
        working.result()
    assert_whole(engine)
    seen = """
        SELECT count(*) FROM audit_images i JOIN verdicts v USING (image_id) WHERE i.scan_id = :s
    """
    assert {value(engine, seen, s=one) for one in made} == {6}
