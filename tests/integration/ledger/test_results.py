import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.batches.contents import Content
from fakesweep.schema.ledger.batches.outcomes import (
    Judgement,
    KnownScore,
    Outcome,
    known_scores,
    store_outcomes,
)
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.words import Kind, VerdictWord
from tests.integration.ledger.rows import (
    WORKER,
    add_model,
    ask,
    claimed,
    content_of,
    failed,
    judged,
    record,
    rows,
    store,
    take,
    take_one,
    tuples,
    value,
)


def _batch(engine: Engine, count: int, start: int = 0) -> BatchMessage:
    scan_id = ask(engine)
    record(engine, scan_id, [f"s3://photos/{number}" for number in range(start, start + count)])
    return take_one(engine)


def test_every_image_of_a_batch_gets_one_row_and_each_model_its_verdict(engine: Engine) -> None:
    one, two = add_model(engine, "one"), add_model(engine, "two")
    message = _batch(engine, 3)
    held = claimed(engine, message.batch_id)
    a, b, c = message.images
    gone = failed(c)
    assert store(
        engine,
        held,
        [
            judged(held, a, content_of("a"), {one: 0.9, two: 0.1}),
            judged(held, b, content_of("b"), {one: 0.5, two: 0.95}, kind=Kind.DEEPFAKE),
            gone,
        ],
    )
    assert tuples(
        engine, "SELECT image_id, status, failure_code FROM ledger.outcomes ORDER BY image_id"
    ) == [
        (a.image_id, "classified", None),
        (b.image_id, "classified", None),
        (c.image_id, "failed", "not_found"),
    ]  # fmt: skip
    assert tuples(
        engine,
        "SELECT image_id, model_id, p_fake, verdict, kind, policy_id FROM ledger.verdicts "
        "ORDER BY image_id, model_id",
    ) == [
        (a.image_id, one, 0.9, "fake", "unknown", 1),
        (a.image_id, two, 0.1, "real", None, 1),
        (b.image_id, one, 0.5, "uncertain", "deepfake", 1),
        (b.image_id, two, 0.95, "fake", "deepfake", 1),
    ]  # fmt: skip


def test_the_sum_holds_at_every_step(engine: Engine) -> None:
    model = add_model(engine)
    scan_id = ask(engine)
    for start in range(0, 12, 4):
        record(engine, scan_id, [f"s3://photos/{n}" for n in range(start, start + 4)])

    def check(classified: int, reused: int, failures: int) -> None:
        with engine.connect() as connection:
            found = progress(connection, scan_id)
        assert (found.classified, found.reused, found.failed) == (classified, reused, failures)
        assert found.submitted == 12 == found.ended + found.pending
        (counted,) = tuples(
            engine,
            "SELECT count(*) FILTER (WHERE status = 'classified') AS a, "
            "count(*) FILTER (WHERE status = 'reused') AS b, "
            "count(*) FILTER (WHERE status = 'failed') AS c FROM ledger.outcomes",
        )
        assert counted == (classified, reused, failures)

    check(0, 0, 0)
    messages = take(engine)
    check(0, 0, 0)
    for number, message in enumerate(messages, start=1):
        held = claimed(engine, message.batch_id)
        check(number - 1, 2 * (number - 1), number - 1)
        a, b, c, d = message.images
        content = content_of(number)
        store(
            engine,
            held,
            [
                judged(held, a, content, {model: 0.5}),
                judged(held, b, content, {model: 0.5}, known=True),
                judged(held, c, content, {model: 0.5}, known=True),
                failed(d),
            ],
        )
        check(number, 2 * number, number)


def test_one_content_is_stored_once_however_often_it_comes(engine: Engine) -> None:
    model = add_model(engine)
    content = content_of("same")
    first, second = _batch(engine, 3), _batch(engine, 2, start=10)
    held = claimed(engine, first.batch_id)
    assert store(engine, held, [judged(held, i, content, {model: 0.9}) for i in first.images])
    held = claimed(engine, second.batch_id)
    bare = Content(content.sha256, content.size_bytes)
    assert store(
        engine, held, [judged(held, i, bare, {model: 0.9}, known=True) for i in second.images]
    )
    assert value(engine, "SELECT count(*) FROM ledger.contents") == 1
    assert value(engine, "SELECT count(*) FROM ledger.predictions") == 1
    assert value(engine, "SELECT count(DISTINCT content_id) FROM ledger.outcomes") == 1
    assert value(engine, "SELECT count(*) FROM verdicts WHERE width = 64 AND p_fake = 0.9") == 5


def test_dimensions_come_with_the_first_batch_that_knows_them(engine: Engine) -> None:
    model = add_model(engine)
    whole = content_of("big")
    bare = Content(whole.sha256, whole.size_bytes)
    message = _batch(engine, 1)
    too_big = failed(message.images[0], FailureCode.TOO_MANY_PIXELS, "limit", bare)
    assert store(engine, claimed(engine, message.batch_id), [too_big])
    (row,) = tuples(engine, "SELECT width, format FROM ledger.contents")
    assert row == (None, None)
    message = _batch(engine, 2)
    held = claimed(engine, message.batch_id)
    a, b = message.images
    assert store(
        engine,
        held,
        [judged(held, a, bare, {model: 0.9}), judged(held, b, whole, {model: 0.9}, known=True)],
    )
    (row,) = tuples(engine, "SELECT width, height, format, frame_count FROM ledger.contents")
    assert row == (64, 48, "JPEG", 1)
    message = _batch(engine, 1)
    held = claimed(engine, message.batch_id)
    other = replace(whole, width=1)
    assert store(engine, held, [judged(held, message.images[0], other, {model: 0.9})])
    assert value(engine, "SELECT width FROM ledger.contents") == 64


def test_scores_stored_first_stand_and_later_verdicts_are_about_them(engine: Engine) -> None:
    model = add_model(engine)
    content = content_of("edge")
    for p_fake in (0.79, 0.81):
        message = _batch(engine, 1)
        held = claimed(engine, message.batch_id)
        assert store(engine, held, [judged(held, message.images[0], content, {model: p_fake})])
    found = tuples(engine, "SELECT p_fake, verdict, scores->>'fake' AS score FROM verdicts")
    assert found == [(0.79, "uncertain", "0.79")] * 2


def _repeated(outcome: Outcome) -> Outcome:
    """Return the outcome of a copy: the scores exist, and no model had to run."""
    return replace(
        outcome,
        judgements=tuple(replace(one, is_repeated=True) for one in outcome.judgements),
    )


def test_a_copy_is_reused_and_its_scores_are_stored_where_they_are_not_yet(engine: Engine) -> None:
    one, two = add_model(engine, "one"), add_model(engine, "two")
    content = content_of("same")
    bare = Content(content.sha256, content.size_bytes)
    first, copies = _batch(engine, 1), _batch(engine, 2, start=10)
    held_first, held = claimed(engine, first.batch_id), claimed(engine, copies.batch_id)
    p_fakes = {one: 0.9, two: 0.3}
    assert store(
        engine, held, [_repeated(judged(held, image, bare, p_fakes)) for image in copies.images]
    )
    stored = "SELECT model_id, p_fake, scores FROM ledger.predictions ORDER BY model_id"
    before = tuples(engine, stored)
    assert [row[:2] for row in before] == [(one, 0.9), (two, 0.3)]
    assert store(engine, held_first, [judged(held_first, first.images[0], content, p_fakes)])
    assert tuples(engine, stored) == before
    assert tuples(engine, "SELECT status FROM ledger.outcomes ORDER BY image_id") == [
        ("classified",), ("reused",), ("reused",),
    ]  # fmt: skip
    with engine.connect() as connection:
        found = progress(connection, held.scan_id)
        assert (found.classified, found.reused, found.failed) == (0, 2, 0)
    assert value(engine, "SELECT count(*) FROM verdicts WHERE width = 64") == 6


def test_a_score_that_is_said_to_be_known_and_is_not_stops_the_batch(engine: Engine) -> None:
    model = add_model(engine)
    message = _batch(engine, 1)
    held = claimed(engine, message.batch_id)
    outcome = judged(held, message.images[0], content_of(1), {model: 0.9}, known=True)
    with pytest.raises(IntegrityError):
        store(engine, held, [outcome])
    assert value(engine, "SELECT state FROM ledger.batches") == "running"
    assert value(engine, "SELECT count(*) FROM ledger.contents") == 0


def test_outcomes_that_do_not_add_up_to_the_batch_are_refused_whole(engine: Engine) -> None:
    message = _batch(engine, 2)
    held = claimed(engine, message.batch_id)
    with pytest.raises(IntegrityError):
        store(engine, held, [failed(message.images[0])])
    with pytest.raises(IntegrityError):
        store(engine, held, [failed(image) for image in message.images] * 2)
    assert value(engine, "SELECT count(*) FROM ledger.outcomes") == 0
    assert store(engine, held, [failed(image) for image in message.images])


def test_no_number_is_not_stored_as_a_score(engine: Engine) -> None:
    model = add_model(engine)
    message = _batch(engine, 1)
    held = claimed(engine, message.batch_id)
    with pytest.raises(DBAPIError):
        store(engine, held, [judged(held, message.images[0], content_of(1), {model: float("nan")})])


@pytest.mark.parametrize("code", FailureCode)
def test_every_failure_code_can_be_stored(engine: Engine, code: FailureCode) -> None:
    message = _batch(engine, 1)
    held = claimed(engine, message.batch_id)
    assert store(engine, held, [failed(message.images[0], code)])
    assert value(engine, "SELECT code FROM failures") == code.value


def test_a_failed_image_keeps_what_is_known_of_its_content(engine: Engine) -> None:
    message = _batch(engine, 2)
    held = claimed(engine, message.batch_id)
    content = Content(content_of("broken").sha256, 77)
    a, b = message.images
    broken = failed(a, FailureCode.CORRUPT, "cut off", content)
    assert store(engine, held, [broken, failed(b)])
    found = tuples(engine, "SELECT uri, sha256, size_bytes FROM failures ORDER BY image_id")
    assert found == [
        (a.uri, content.sha256.hex(), 77),
        (b.uri, None, None),
    ]


@pytest.mark.parametrize(
    ("message", "stored"),
    [
        ("tab\there", "tab\there"),
        ("two\nlines\r\n", "two\nlines\r\n"),
        ("C:\\new\\table \\N \\. \\x00", "C:\\new\\table \\N \\. \\x00"),
        ("\\.", "\\."),
        ("", ""),
        ("nul\x00", "nul\ufffd"),
        ("\udce9 not UTF-8", "? not UTF-8"),
        ('it\'s 100% %s :x {y} "z"', 'it\'s 100% %s :x {y} "z"'),
        ("日本語 😀", "日本語 😀"),
        ("x" * 100_000, "x" * 1_997 + "…"),
    ],
)
def test_any_failure_message_is_stored(engine: Engine, message: str, stored: str) -> None:
    batch = _batch(engine, 1)
    held = claimed(engine, batch.batch_id)
    assert store(engine, held, [failed(batch.images[0], message=message)])
    assert value(engine, "SELECT message FROM failures") == stored


def test_numbers_come_back_as_they_were(engine: Engine) -> None:
    model = add_model(engine, names=("real", "fake", "deepfake"))
    random_floats = random.Random(7)
    p_fakes = [
        0.0,
        1.0,
        5e-324,
        1.0 - 2**-53,
        1e-7,
        0.1,
        *(random_floats.random() for _ in range(50)),
    ]
    message = _batch(engine, len(p_fakes))
    held = claimed(engine, message.batch_id)
    verdict = VerdictWord.UNCERTAIN
    assert store(
        engine,
        held,
        [
            Outcome(
                image.image_id,
                content_of(image.image_id, size_bytes=2**40, width=None, format=None),
                (Judgement(model, p, Kind.UNKNOWN, verdict, (1 - p, 2**-20, 2**-30)),),
            )
            for image, p in zip(message.images, p_fakes, strict=True)
        ],
    )
    found = rows(
        engine,
        "SELECT p.p_fake, CAST(p.scores AS double precision[]) AS scores, c.size_bytes "
        "FROM ledger.outcomes o JOIN ledger.predictions p USING (content_id) "
        "JOIN ledger.contents c USING (content_id) "
        "ORDER BY image_id",
    )
    assert [row["p_fake"] for row in found] == p_fakes
    assert all(row["scores"][1:] == [2**-20, 2**-30] for row in found)
    assert {row["size_bytes"] for row in found} == {2**40}


def test_known_scores_are_those_of_these_very_models(engine: Engine) -> None:
    one, two = add_model(engine, "one"), add_model(engine, "two")
    message = _batch(engine, 2)
    held = claimed(engine, message.batch_id)
    a, b = message.images
    store(
        engine,
        held,
        [
            judged(held, a, content_of("a"), {one: 0.25}, kind=Kind.DEEPFAKE),
            judged(held, b, content_of("b"), {one: 0.75, two: 0.5}),
        ],
    )
    digests = [content_of(seed).sha256 for seed in ("a", "b", "c")]
    with engine.connect() as connection:
        assert known_scores(connection, digests, [one]) == {
            (digests[0], one): KnownScore(0.25, Kind.DEEPFAKE),
            (digests[1], one): KnownScore(0.75, Kind.UNKNOWN),
        }
        assert set(known_scores(connection, digests, [one, two])) == {
            (digests[0], one), (digests[1], one), (digests[1], two),
        }  # fmt: skip
        assert known_scores(connection, [], [one]) == {}
        assert known_scores(connection, digests, []) == {}


def test_a_rolled_back_store_leaves_nothing_and_can_be_repeated(engine: Engine) -> None:
    model = add_model(engine)
    message = _batch(engine, 1)
    held = claimed(engine, message.batch_id)
    outcomes = [judged(held, message.images[0], content_of(1), {model: 0.9})]
    with engine.connect() as connection:
        assert store_outcomes(connection, held, WORKER, outcomes)
        connection.rollback()
    assert value(engine, "SELECT count(*) FROM ledger.contents") == 0
    assert store(engine, held, outcomes)


def test_workers_that_store_the_same_contents_at_once_do_not_deadlock(engine: Engine) -> None:
    models = {add_model(engine, "one"): 0.3, add_model(engine, "two"): 0.7}
    workers, rounds, images = 6, 12, 40
    messages = [_batch(engine, images) for _ in range(workers * rounds)]

    def work(number: int) -> int:
        worker, order = uuid4(), random.Random(number)
        for message in messages[number::workers]:
            held = claimed(engine, message.batch_id, worker)
            seeds = order.sample(range(images * 2), images)
            outcomes = [
                judged(held, image, content_of((message.batch_id // workers, seed)), models)
                for image, seed in zip(message.images, seeds, strict=True)
            ]
            assert store(engine, held, outcomes, worker)
        return rounds

    with ThreadPoolExecutor(workers) as threads:
        assert sum(threads.map(work, range(workers))) == workers * rounds
    assert value(engine, "SELECT count(*) FROM ledger.outcomes") == workers * rounds * images
    assert value(engine, "SELECT count(*) FROM ledger.verdicts") == 2 * workers * rounds * images
    assert value(
        engine,
        "SELECT count(*) FROM ledger.contents c "
        "WHERE 2 <> (SELECT count(*) FROM ledger.predictions p WHERE p.content_id = c.content_id)",
    ) == 0  # fmt: skip
