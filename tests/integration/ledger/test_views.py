from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, make_url
from sqlalchemy.exc import DBAPIError

from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.batches.contents import Content
from fakesweep.schema.ledger.batches.outcomes import Judgement, Outcome
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.words import Kind, VerdictWord
from tests.integration.ledger.rows import (
    add_model,
    ask,
    claimed,
    content_of,
    failed,
    judged,
    record,
    rows,
    run,
    scan,
    store,
    take_one,
    tuples,
    value,
)


def test_a_verdict_tells_everything_about_an_image_and_its_model(engine: Engine) -> None:
    model = add_model(engine)
    scan_id, (image,) = scan(engine, {"s3://photos/1": {model: 0.75}})
    (row,) = rows(engine, "SELECT * FROM verdicts")
    content = content_of("s3://photos/1")
    expected = {
        "scan_id": scan_id, "image_id": image.image_id, "uri": "s3://photos/1",
        "status": "classified", "verdict": "uncertain", "kind": "unknown", "p_fake": 0.75,
        "model": "tiny", "model_revision": "r1", "revision_is_current": True,
        "policy": "default", "scores": {"real": 0.25, "fake": 0.75},
        "sha256": content.sha256.hex(), "size_bytes": 1_000, "width": 64, "height": 48,
        "format": "JPEG", "frame_count": 1, "model_id": model,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["judged_at"] >= row["classified_at"]


def test_labels_of_the_same_name_are_told_as_their_sum(engine: Engine) -> None:
    model = add_model(engine, names=("fake", "real", "fake"))
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1"])
    message = take_one(engine)
    held = claimed(engine, message.batch_id)
    scored = Judgement(model, 0.75, Kind.UNKNOWN, VerdictWord.UNCERTAIN, (0.5, 0.25, 0.25))
    outcome = Outcome(message.images[0].image_id, content_of(1), (scored,))
    assert store(engine, held, [outcome])
    assert value(engine, "SELECT scores FROM verdicts") == {"fake": 0.75, "real": 0.25}


def test_scores_without_a_label_do_not_break_the_view(engine: Engine) -> None:
    scan(engine, {"s3://photos/1": {add_model(engine): 0.75}})
    run(engine, "UPDATE ledger.models SET labels = ARRAY['real']")
    assert value(engine, "SELECT scores FROM verdicts") == {"real": 0.25}


def test_each_pair_of_models_that_disagree_is_told_once(engine: Engine) -> None:
    a, b, c = (add_model(engine, key) for key in ("a", "b", "c"))
    scan_id, (image, _, other) = scan(
        engine,
        {
            "s3://photos/1": {a: 0.1, b: 0.5, c: 0.9},
            "s3://photos/2": {a: 0.9, b: 0.95, c: 0.99},
            "s3://photos/3": {a: 0.9, b: 0.1, c: 0.85},
        },
        models=["a", "b", "c"],
    )
    found = tuples(
        engine,
        "SELECT scan_id, image_id, model_a, verdict_a, model_b, verdict_b, "
        "round(difference::numeric, 6)::float FROM model_disagreements "
        "ORDER BY image_id, model_a, model_b",
    )
    assert found == [
        (scan_id, image.image_id, "a", "real", "b", "uncertain", 0.4),
        (scan_id, image.image_id, "a", "real", "c", "fake", 0.8),
        (scan_id, image.image_id, "b", "uncertain", "c", "fake", 0.4),
        (scan_id, other.image_id, "a", "fake", "b", "real", 0.8),
        (scan_id, other.image_id, "b", "real", "c", "fake", 0.75),
    ]


def test_the_review_queue_shows_each_content_once_a_model_by_its_newest_verdict(
    engine: Engine,
) -> None:
    one, two = add_model(engine, "one"), add_model(engine, "two")
    content = content_of("meme")
    for start in (0, 10):
        scan_id = ask(engine, models=["one", "two"])
        record(engine, scan_id, [f"s3://photos/{n}" for n in range(start, start + 3)])
        message = take_one(engine)
        held = claimed(engine, message.batch_id)
        scores = {one: 0.9, two: 0.6}
        outcomes = [judged(held, image, content, scores) for image in message.images[:2]]
        outcomes.append(judged(held, message.images[2], content_of(start), {one: 0.1, two: 0.0}))
        assert store(engine, held, outcomes)
    assert tuples(
        engine, "SELECT uri, scan_id, model, verdict FROM review_queue ORDER BY p_fake DESC"
    ) == [
        ("s3://photos/11", 2, "one", "fake"),
        ("s3://photos/11", 2, "two", "uncertain"),
    ]


@pytest.mark.parametrize("code", FailureCode)
def test_the_review_queue_has_what_people_may_see_though_nothing_judged_it(
    engine: Engine, code: FailureCode
) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1"])
    message = take_one(engine)
    content = content_of("odd", width=None, height=None, format=None, frame_count=None)
    outcome = failed(message.images[0], code, "why it was not judged", content)
    assert store(engine, claimed(engine, message.batch_id), [outcome])
    shown = [
        (None, None, "s3://photos/1", code.value, "why it was not judged", content.sha256.hex())
    ]
    assert tuples(
        engine,
        "SELECT p_fake, verdict, uri, failure_code, failure_message, sha256 FROM review_queue",
    ) == (shown if code.is_for_people else [])


def test_the_review_queue_shows_what_failed_once_and_until_it_is_judged(engine: Engine) -> None:
    model, content = add_model(engine), content_of("odd")
    queue = "SELECT uri, failure_code, verdict FROM review_queue ORDER BY image_id"
    for number in range(3):
        scan_id = ask(engine)
        record(engine, scan_id, [f"s3://photos/{number}{n}" for n in range(2)])
        message = take_one(engine)
        held = claimed(engine, message.batch_id)
        outcomes = [
            judged(held, image, content, {model: 0.9})
            if number == 2
            else failed(image, FailureCode.UNSUPPORTED, "no", content)
            for image in message.images
        ]
        assert store(engine, held, outcomes)
        newest = f"s3://photos/{number}1"
        code, verdict = (None, "fake") if number == 2 else ("unsupported", None)
        assert tuples(engine, queue) == [(newest, code, verdict)]


def test_the_review_queue_says_which_verdicts_are_of_an_old_revision(engine: Engine) -> None:
    old = add_model(engine)
    scan(engine, {"s3://photos/1": {old: 0.9}})
    new = add_model(engine, revision="r2")
    scan(engine, {"s3://photos/1": {new: 0.85}})
    assert tuples(
        engine,
        "SELECT model_revision, revision_is_current FROM review_queue ORDER BY model_id",
    ) == [("r1", False), ("r2", True)]
    assert tuples(engine, "SELECT model_revision FROM verdicts WHERE NOT revision_is_current") == [
        ("r1",)
    ]


def test_a_content_rejudged_as_real_leaves_the_review_queue(engine: Engine) -> None:
    scan_id, _ = scan(engine, {"s3://photos/1": {add_model(engine): 0.4}})
    assert value(engine, "SELECT count(*) FROM review_queue") == 1
    run(engine, "SELECT rejudge(:scan_id, 'card')", scan_id=scan_id)
    assert value(engine, "SELECT count(*) FROM review_queue") == 0


def test_the_review_queue_is_paged_by_its_order_though_scores_are_alike(engine: Engine) -> None:
    models = {add_model(engine, key): 1.0 for key in ("a", "b", "c")}
    scan(engine, {f"s3://photos/{n}": models for n in range(7)}, models=["a", "b", "c"])
    seen: list[tuple[object, ...]] = []
    last: tuple[object, ...] = (2.0, 0, 0)
    while page := tuples(
        engine,
        "SELECT p_fake, image_id, model_id FROM review_queue "
        "WHERE (p_fake, image_id, model_id) < (:p, :i, :m) "
        "ORDER BY p_fake DESC, image_id DESC, model_id DESC LIMIT 4",
        p=last[0], i=last[1], m=last[2],
    ):  # fmt: skip
        seen += page
        last = page[-1]
    assert len(seen) == len(set(seen)) == 21


def test_a_content_is_found_by_its_sha256(engine: Engine) -> None:
    scan(engine, {"s3://photos/1": {add_model(engine): 0.5}})
    digest = content_of("s3://photos/1").sha256.hex()
    find = "SELECT content_id_of(:digest)"
    content_id = value(engine, "SELECT content_id FROM verdicts")
    assert value(engine, find, digest=digest) == content_id
    assert value(engine, find, digest=digest.upper()) == content_id
    assert value(engine, find, digest="00" * 32) is None
    with pytest.raises(DBAPIError, match="hexadecimal"):
        value(engine, find, digest="no digest")


def test_failures_tell_code_reason_and_content(engine: Engine) -> None:
    scan_id = ask(engine)
    record(engine, scan_id, ["s3://photos/1", "s3://photos/2"])
    message = take_one(engine)
    broken = Content(content_of("broken").sha256, 12)
    a, b = message.images
    outcomes = [failed(a), failed(b, FailureCode.CORRUPT, "cut off", broken)]
    assert store(engine, claimed(engine, message.batch_id), outcomes)
    assert tuples(
        engine,
        "SELECT scan_id, uri, code, message, sha256, size_bytes, content_id = "
        "content_id_of(sha256) FROM failures ORDER BY image_id",
    ) == [
        (scan_id, "s3://photos/1", "not_found", "the object is gone", None, None, None),
        (scan_id, "s3://photos/2", "corrupt", "cut off", broken.sha256.hex(), 12, True),
    ]


@pytest.fixture
def analyst(engine: Engine) -> Iterator[Engine]:
    """A user with SELECT on the public schema alone."""
    views = ", ".join(
        row["table_name"]
        for row in rows(
            engine, "SELECT table_name FROM information_schema.views WHERE table_schema = 'public'"
        )
    )
    run(engine, f"CREATE ROLE analyst LOGIN; GRANT SELECT ON {views} TO analyst")
    run(engine, "GRANT EXECUTE ON FUNCTION content_id_of TO analyst")
    url = make_url(engine.url.render_as_string(hide_password=False)).set(username="analyst")
    engine_of_analyst = open_engine(url.render_as_string(hide_password=False), "tests")
    yield engine_of_analyst
    engine_of_analyst.dispose()
    run(engine, "DROP OWNED BY analyst; DROP ROLE analyst")


def test_a_reader_of_the_views_needs_no_right_to_the_ledger(
    engine: Engine, analyst: Engine
) -> None:
    scan_id, _ = scan(engine, {"s3://photos/1": {add_model(engine): 0.9}})
    (row,) = rows(
        analyst,
        "SELECT scores, judge(p_fake, 0.1, 0.95) AS word FROM verdicts "
        "WHERE content_id = content_id_of(sha256)",
    )
    assert row == {"scores": {"real": 0.1, "fake": 0.9}, "word": "uncertain"}
    for view in ("review_queue", "scan_progress", "policies", "models"):
        assert value(analyst, f"SELECT count(*) FROM {view}")
    for sql in (
        "SELECT * FROM ledger.verdicts",
        "SELECT set_policy('default', 0, 0)",
        "SELECT rejudge(:scan_id, 'card')",
    ):
        with pytest.raises(DBAPIError, match=r"permission denied for (schema ledger|function)"):
            run(analyst, sql, scan_id=scan_id)
