"""Deletion of all that belongs to old scans: contents, outputs, answers, processes."""

import pytest
from sqlalchemy import Engine

from fakesweep.producer.retention import prune as forgetting
from fakesweep.schema.errors import RetentionError
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.batches.outcomes import known_scores
from fakesweep.schema.ledger.scans.control import cancel_scan
from tests.integration.ledger.retention import (
    claim_all,
    count,
    make_old,
    old_scan,
    planned,
    prune,
    scans,
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
    take_one,
    tuples,
)
from tests.integration.ledger.scan_control import steer
from tests.integration.ledger.test_audits import audited, found
from tests.integration.ledger.test_audits import record as see


def test_contents_that_another_image_has_stay_with_their_scores(engine: Engine) -> None:
    model = add_model(engine)
    old = ask(engine)
    record(engine, old, ["s3://old/copy", "s3://old/alone", "s3://old/broken"])
    end(engine, old)
    message = take_one(engine)
    held = claimed(engine, message.batch_id)
    copy, alone, broken = message.images
    cut = content_of("cut", width=None)
    outcomes = [judged(held, one, content_of(said), {model: 0.9})
                for one, said in ((copy, "shared"), (alone, "alone"))]  # fmt: skip
    assert store(engine, held, [*outcomes, failed(broken, FailureCode.CORRUPT, content=cut)])
    new = ask(engine)
    record(engine, new, ["s3://new/copy", "s3://new/broken"])
    end(engine, new)
    message = take_one(engine)
    held = claimed(engine, message.batch_id)
    shared = judged(held, message.images[0], content_of("shared"), {model: 0.9}, known=True)
    broken_again = failed(message.images[1], FailureCode.CORRUPT, content=cut)
    assert store(engine, held, [shared, broken_again])
    make_old(engine, old)
    assert prune(engine).contents == 1
    with engine.connect() as connection:
        digests = [content_of(said).sha256 for said in ("shared", "alone")]
        assert [key[0] for key in known_scores(connection, digests, [model])] == digests[:1]
    assert count(engine, "contents") == 2


def test_contents_stay_while_a_worker_may_have_found_their_scores(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "BUSY_TRIES", 1)
    old_scan(engine, "a", "b")
    working = ask(engine)
    record(engine, working, ["s3://new/copy"])
    [batch_id] = claim_all(engine)
    told = prune(engine)
    assert (told.images, told.contents, told.contents_stay) == (2, 0, True)
    assert count(engine, "contents") == 1
    run(engine, "UPDATE ledger.batches SET state = 'recorded' WHERE batch_id = :b", b=batch_id)
    told = prune(engine)
    assert (told.images, told.contents, told.contents_stay) == (0, 1, False)


def test_contents_that_spare_a_running_audit_a_look_stay(engine: Engine) -> None:
    old, new = add_model(engine), add_model(engine, revision="r2")
    audited(engine, [found("a")], old)
    second = ask(engine, is_audit=True)
    see(engine, second, [found("a")])  # to be scored again, by the new revision
    first = scans(engine)[0]
    run(engine, "UPDATE ledger.scans SET archive = NULL")
    make_old(engine, first)
    run(engine, "DELETE FROM ledger.sightings")
    told = prune(engine)
    assert (told.images, told.contents) == (1, 0)
    assert count(engine, "contents") == 1
    steer(engine, cancel_scan, second)
    assert prune(engine).contents == 1
    assert new > old


def test_the_review_queue_brings_an_older_image_back_when_the_newer_is_forgotten(
    engine: Engine,
) -> None:
    model = add_model(engine)
    older, newer = (ask(engine) for _ in range(2))
    for scan_id, name in ((older, "older"), (newer, "newer")):
        record(engine, scan_id, [f"s3://photos/{name}"])
        end(engine, scan_id)
        message = take_one(engine)
        held = claimed(engine, message.batch_id)
        copy = judged(held, message.images[0], content_of("meme"), {model: 0.9})
        assert store(engine, held, [copy])
    queue = "SELECT uri FROM review_queue"
    assert tuples(engine, queue) == [("s3://photos/newer",)]
    make_old(engine, older, newer)
    prune(engine, newer)
    assert tuples(engine, queue) == [("s3://photos/older",)]


def test_an_output_that_is_not_complete_keeps_its_scan_and_one_that_is_goes_with_it(
    engine: Engine,
) -> None:
    scan_id = old_scan(engine, "a", "b")
    run(engine, "INSERT INTO ledger.outputs (scan_id, destination) VALUES (:s, 's3://out/')",
        s=scan_id)  # fmt: skip
    run(engine, "INSERT INTO ledger.output_parts (scan_id, part) VALUES (:s, 1)", s=scan_id)
    run(engine, "INSERT INTO ledger.output_batches VALUES (:s, 1, 1)", s=scan_id)
    assert prune(engine).images == 0
    with pytest.raises(RetentionError, match="its output is not complete yet"):
        planned(engine, scan_id)
    run(engine, "UPDATE ledger.outputs SET ended_at = now()")
    assert prune(engine).scans == 1
    assert [count(engine, one) for one in ("outputs", "output_parts", "output_batches")] == [0] * 3


def test_an_output_that_failed_since_before_that_moment_keeps_no_scan(engine: Engine) -> None:
    scan_id = old_scan(engine, "a", "b")
    run(engine, "INSERT INTO ledger.outputs (scan_id, destination, trouble, troubled_since) "
                "VALUES (:s, '/gone', 'no such folder', now() - interval '366 days')",
        s=scan_id)  # fmt: skip
    assert prune(engine).scans == 1


def test_old_processes_answers_and_deliveries_are_deleted_too(
    engine: Engine,
) -> None:
    model = add_model(engine)
    scan_id = old_scan(engine, "a", "b")
    kept, _ = scan(engine, {"s3://new/a": {model: 0.9}})
    run(engine, """
        INSERT INTO ledger.workers (worker_id, hostname, pid, device, version, seen_at)
        SELECT gen_random_uuid(), 'h', n, 'cpu', '0', now() - make_interval(days => 200 * n)
        FROM generate_series(0, 3) AS n;
        INSERT INTO ledger.model_loads SELECT worker_id, :m, 1 FROM ledger.workers;
        INSERT INTO ledger.producers (producer_id, hostname, pid, version, seen_at)
        SELECT gen_random_uuid(), 'h', n, '0', now() - make_interval(days => 200 * n)
        FROM generate_series(0, 3) AS n;
        INSERT INTO ledger.unreadable_messages (reason, body, received_at)
        SELECT 'garbage', '?', now() - make_interval(days => 200 * n)
        FROM generate_series(0, 3) AS n;
        INSERT INTO ledger.submissions (key, digest, occurrence, scan_id, image_ids, created_at)
        SELECT n, '', '', :s, '{1}', now() - make_interval(days => 200 * n)
        FROM generate_series(0, 3) AS n;
        INSERT INTO ledger.webhook_deliveries (webhook_id, image_id, model_id, scan_id, content_id,
                                               policy_id, p_fake, verdict, created_at)
        SELECT 1, image_id, 1, scan_id, content_id, 1, p_fake, verdict, now() - interval '399 days'
        FROM ledger.verdicts
    """, m=model, s=scan_id)  # fmt: skip
    prune(engine)
    left = ("workers", "model_loads", "producers", "unreadable_messages", "submissions")
    assert {table: count(engine, table) for table in left} == dict.fromkeys(left, 2)
    assert tuples(engine, "SELECT scan_id FROM ledger.webhook_deliveries") == [(kept,)]


def test_a_schedule_keeps_what_became_of_its_times_and_a_token_is_free_again(
    engine: Engine,
) -> None:
    scan_id = old_scan(engine, "a", "b")
    run(engine, """
        INSERT INTO ledger.schedules (name, cron, timezone, model_keys, policy, lane, next_at)
        VALUES ('nightly', '0 3 * * *', 'UTC', '{tiny}', 'default', 'bulk', now());
        UPDATE ledger.scans SET schedule_id = 1, due_at = created_at, token = 't';
        INSERT INTO ledger.schedule_runs (schedule_id, due_at, outcome, scan_id)
        VALUES (1, now() - interval '400 days', 'fired', :s)
    """, s=scan_id)  # fmt: skip
    prune(engine)
    assert tuples(engine, "SELECT outcome, scan_id FROM schedule_runs") == [("fired", scan_id)]
    assert tuples(engine, "SELECT last_outcome, last_scan_id FROM schedules") == [("fired", None)]
    again, _ = scan(engine, {"s3://new/a": {add_model(engine): 0.9}})
    run(engine, "UPDATE ledger.scans SET token = 't' WHERE scan_id = :s", s=again)
