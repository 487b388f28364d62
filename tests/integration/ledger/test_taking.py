"""Messages that contradict the ledger: no image is lost, doubled or answered by them."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.batches.delivery import Refused, Taken, take_up
from fakesweep.schema.ledger.dead_letters import MAX_BODY_CHARACTERS
from fakesweep.schema.message import BatchImage, BatchMessage
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import (
    WORKER,
    add_model,
    ask,
    content_of,
    judged,
    record,
    rows,
    run,
    store,
    take,
    take_one,
    tuples,
    value,
)

BATCHES = "SELECT batch_id, state, attempt, expiries FROM ledger.batches ORDER BY batch_id"
ASIDE = "SELECT queue, reason, body FROM unreadable_messages ORDER BY message_id"


@pytest.fixture
def two(engine: Engine) -> tuple[BatchMessage, BatchMessage]:
    """The messages of two published batches of a scan, of three images each."""
    scan_id = ask(engine)
    for batch in "ab":
        record(engine, scan_id, [f"s3://photos/{batch}{number}" for number in range(3)])
    first, second = take(engine)
    return first, second


def _take_up(engine: Engine, message: BatchMessage) -> Taken | Refused | None:
    with engine.begin() as connection:
        return take_up(connection, message, WORKER, 60.0)


def _forged(message: BatchMessage, other: BatchMessage) -> dict[str, BatchMessage]:
    a, b, c = message.images
    forged: dict[str, Sequence[BatchImage]] = {
        "another batch's image in its place": (a, b, other.images[0]),
        "another batch's image besides": (a, b, c, other.images[0]),
        "another batch's images": other.images,
        "an image left out": (a, b),
        "no image": (),
        "an image twice in place of another": (a, b, b),
        "another's address": (a, b, BatchImage(c.image_id, "s3://photos/else")),
        "addresses swapped": (a, BatchImage(b.image_id, c.uri), BatchImage(c.image_id, b.uri)),
        "an image that there is not": (a, b, BatchImage(10**15, c.uri)),
    }
    told = {name: replace(message, images=tuple(images)) for name, images in forged.items()}
    return told | {"another scan": replace(message, scan_id=message.scan_id + 1)}


FORGERIES = tuple(_forged(
    BatchMessage(1, 1, Lane.BULK, tuple(BatchImage(n, "s3://b/k") for n in (1, 2, 3))),
    BatchMessage(2, 1, Lane.BULK, (BatchImage(4, "s3://b/k"),)),
))  # fmt: skip


@pytest.mark.parametrize("attempt", ["its own", "none"])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_message_that_disagrees_is_put_aside_and_its_batch_published_anew(
    engine: Engine, two: tuple[BatchMessage, BatchMessage], forgery: str, attempt: str
) -> None:
    first, second = two
    before = tuples(engine, BATCHES)
    forged = _forged(first, second)[forgery]
    if attempt == "none":
        forged = replace(forged, attempt=None)
    found = _take_up(engine, forged)
    assert isinstance(found, Refused)
    [aside] = rows(engine, ASIDE)
    assert (aside["queue"], aside["reason"]) == ("bulk", found.reason)
    assert json.loads(aside["body"]) == forged.to_json()
    assert tuples(engine, BATCHES) == [(first.batch_id, "recorded", 0, 0), before[1]]
    assert take(engine) == [first]
    taken = _take_up(engine, first)
    assert isinstance(taken, Taken)
    assert taken.images == first.images
    other = _take_up(engine, second)
    assert isinstance(other, Taken)
    assert value(engine, "SELECT count(*) FROM unreadable_messages") == 1


def test_the_message_that_a_forged_one_stands_beside_is_still_worked_on(
    engine: Engine, two: tuple[BatchMessage, BatchMessage]
) -> None:
    first, second = two
    for forged in _forged(first, second).values():
        assert isinstance(_take_up(engine, forged), Refused)
    assert isinstance(_take_up(engine, first), Taken)
    assert take(engine) == []


@pytest.mark.parametrize(
    "change",
    [
        {"batch_id": 10**15},
        {"lane": Lane.LIVE},
        {"lane": Lane.QUARANTINE},
        {"attempt": 1},
        {"attempt": 2**70},
    ],
    ids=str,
)
def test_a_message_of_no_batch_another_lane_or_another_attempt_changes_nothing(
    engine: Engine, two: tuple[BatchMessage, BatchMessage], change: dict[str, object]
) -> None:
    before = tuples(engine, BATCHES)
    assert _take_up(engine, replace(two[0], **change)) is None  # type: ignore[arg-type]
    assert tuples(engine, BATCHES) == before
    assert rows(engine, ASIDE) == []


def test_a_forged_message_of_a_batch_in_work_or_done_changes_nothing(
    engine: Engine, two: tuple[BatchMessage, BatchMessage]
) -> None:
    first, second = two
    model = add_model(engine)
    taken = _take_up(engine, first)
    assert isinstance(taken, Taken)
    for forged in _forged(first, second).values():
        assert _take_up(engine, replace(forged, attempt=None)) is None
    held = taken.claim
    outcomes = [judged(held, one, content_of(one.image_id), {model: 0.9}) for one in taken.images]
    assert store(engine, held, outcomes)
    for forged in _forged(first, second).values():
        assert _take_up(engine, replace(forged, attempt=None)) is None
    assert value(engine, "SELECT state FROM ledger.batches WHERE batch_id = 1") == "done"
    assert isinstance(_take_up(engine, second), Taken)


def test_a_forged_message_of_a_paused_scan_leaves_its_batch_held(
    engine: Engine, two: tuple[BatchMessage, BatchMessage]
) -> None:
    run(engine, "UPDATE ledger.scans SET paused_at = now()")
    run(engine, "UPDATE ledger.batches SET state = 'held'")
    assert _take_up(engine, _forged(*two)["no image"]) is None
    assert tuples(engine, "SELECT DISTINCT state FROM ledger.batches") == [("held",)]


def test_order_and_repeats_say_nothing_since_the_ledgers_rows_are_worked_on(
    engine: Engine, two: tuple[BatchMessage, BatchMessage]
) -> None:
    first, _ = two
    a, b, c = first.images
    taken = _take_up(engine, replace(first, images=(c, a, b, a)))
    assert isinstance(taken, Taken)
    assert taken.images == (a, b, c)


def test_what_is_kept_of_a_message_is_bounded_and_holds_no_secret(engine: Engine) -> None:
    uris = [f"https://host/{number}?X-Amz-Signature=hush" + "x" * 60 for number in range(200)]
    record(engine, ask(engine), uris)
    message = take_one(engine)
    assert isinstance(_take_up(engine, replace(message, images=message.images[1:])), Refused)
    [aside] = rows(engine, ASIDE)
    assert len(aside["body"]) <= MAX_BODY_CHARACTERS
    assert "hush" not in aside["body"]


def test_images_that_ended_since_it_was_published_are_not_worked_on_again(engine: Engine) -> None:
    record(engine, ask(engine), ["s3://photos/a", "s3://photos/b"])
    take_one(engine)
    run(
        engine,
        "INSERT INTO ledger.outcomes (image_id, scan_id, status, failure_code) "
        "SELECT min(image_id), 1, 'failed', 'not_found' FROM ledger.images",
    )
    run(engine, "UPDATE ledger.batches SET state = 'recorded'")
    again = take_one(engine)
    assert [image.uri for image in again.images] == ["s3://photos/b"]
    first_too = BatchImage(1, "s3://photos/a")
    assert isinstance(_take_up(engine, replace(again, images=(first_too,))), Refused)
    assert take_one(engine) == again
    taken = _take_up(engine, again)
    assert isinstance(taken, Taken)
    assert taken.was_miscounted
    assert tuples(engine, "SELECT image_count, failed_count FROM ledger.batches") == [(2, 1)]


def test_a_message_of_images_that_have_all_ended_is_put_aside_and_leaves_its_batch(
    engine: Engine,
) -> None:
    record(engine, ask(engine), ["s3://photos/a"])
    message = take_one(engine)
    run(
        engine,
        "INSERT INTO ledger.outcomes (image_id, scan_id, status, failure_code) "
        "SELECT image_id, 1, 'failed', 'not_found' FROM ledger.images",
    )
    forged = replace(message, images=(BatchImage(77, "s3://photos/else"),))
    assert isinstance(_take_up(engine, forged), Refused)
    again = take_one(engine)
    assert again.images == ()
    assert _take_up(engine, again) is None
    assert tuples(engine, BATCHES)[0][1] == "done"
