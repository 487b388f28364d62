"""Audits in the ledger: unchanged images are counted, changes distinguished, copies follow."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.batches.leases import known_contents
from fakesweep.schema.ledger.scans.audits import let_follow
from fakesweep.schema.ledger.scans.control import cancel_scan, pause_scan
from fakesweep.schema.ledger.scans.listing import Page, Recorded, record_page
from fakesweep.schema.ledger.scans.scans import ListedImage
from fakesweep.schema.ledger.scans.source_parts import Part
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.selection import Selection
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import (
    add_model,
    ask,
    claimed,
    content_of,
    end,
    failed,
    judged,
    run,
    store,
    take,
    tuples,
    value,
)

WHEN = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
URI = "s3://photos/{}.jpg"


def found(name: str, etag: str = "e1", size: int = 10, when: datetime = WHEN) -> ListedImage:
    return ListedImage(URI.format(name), name, size, etag, when)


def record(
    engine: Engine, scan_id: int, images: Sequence[ListedImage], batch_images: int = 100
) -> Recorded:
    with engine.begin() as connection:
        page = Page(images, images[-1].cursor)
        recorded = record_page(connection, scan_id, Part(0, 0, ""), page, batch_images)
    assert recorded is not None
    return recorded


def judge(
    engine: Engine, messages: Sequence[BatchMessage], contents: Mapping[str, str], *models: int
) -> None:
    """Complete batches; `contents` maps images to shared contents."""
    for message in messages:
        held = claimed(engine, message.batch_id)
        outcomes = [
            judged(
                held,
                image,
                content_of(contents.get(image.uri, image.uri)),
                dict.fromkeys(models, 0.5),
            )
            for image in message.images
        ]
        assert store(engine, held, outcomes)


def audited(
    engine: Engine, images: Sequence[ListedImage], model: int, **contents: str
) -> tuple[int, Recorded]:
    """Run an audit of a source with these images."""
    scan_id = ask(engine, is_audit=True)
    recorded = record(engine, scan_id, images)
    end(engine, scan_id)
    copies = {URI.format(name): content for name, content in contents.items()}
    judge(engine, take(engine), copies, model)
    return scan_id, recorded


def counts(engine: Engine, scan_id: int) -> tuple[int | None, ...]:
    """Return the counts of `scan_progress`: unchanged, new, changed, again, vanished."""
    query = "SELECT unchanged, new, changed, again, vanished FROM scan_progress WHERE scan_id = :id"
    [row] = tuples(engine, query, id=scan_id)
    return row


def test_unchanged_images_are_counted_and_not_submitted(engine: Engine) -> None:
    model = add_model(engine)
    images = [found(name) for name in "abc"]
    first, recorded = audited(engine, images, model)
    assert recorded == Recorded(added=3, unchanged=0)
    second, recorded = audited(engine, images, model)
    assert recorded == Recorded(added=0, unchanged=3)
    assert counts(engine, first) == (0, 3, 0, 0, None)
    assert counts(engine, second) == (3, 0, 0, 0, 0)
    assert value(engine, "SELECT count(*) FROM ledger.images") == 3
    [row] = tuples(
        engine, "SELECT state, submitted FROM scan_progress WHERE scan_id = :id", id=second
    )
    assert row == ("finished", 0)


@pytest.mark.parametrize(
    "other", [{"etag": "e2"}, {"size": 11}, {"when": WHEN.replace(year=2027)}], ids=str
)
def test_an_object_with_another_tag_size_or_time_is_changed(
    engine: Engine, other: dict[str, object]
) -> None:
    model = add_model(engine)
    audited(engine, [found("a"), found("b")], model)
    scan_id, recorded = audited(engine, [found("a"), found("b", **other)], model)  # type: ignore[arg-type]
    assert recorded == Recorded(added=1, unchanged=1)
    assert tuples(
        engine, "SELECT change, uri FROM audit_changes WHERE scan_id = :id", id=scan_id
    ) == [("changed", URI.format("b"))]


def test_new_changed_and_vanished_objects_are_told_apart(engine: Engine) -> None:
    model = add_model(engine)
    audited(engine, [found("a"), found("b"), found("gone")], model)
    scan_id, _ = audited(engine, [found("a"), found("b", "e2"), found("new")], model)
    assert counts(engine, scan_id) == (1, 1, 1, 0, 1)
    changes = "SELECT change, uri FROM audit_changes WHERE scan_id = :id ORDER BY change"
    assert tuples(engine, changes, id=scan_id) == [
        ("changed", URI.format("b")), ("new", URI.format("new")), ("vanished", URI.format("gone")),
    ]  # fmt: skip
    third, _ = audited(engine, [found("a"), found("gone")], model)
    assert counts(engine, third) == (2, 0, 0, 0, 2)


def test_an_audit_shows_everything_it_saw_by_the_image_whose_verdict_holds(engine: Engine) -> None:
    model = add_model(engine)
    first, _ = audited(engine, [found("a"), found("b")], model)
    second, _ = audited(engine, [found("a"), found("b", "e2")], model)
    seen = """
        SELECT i.uri, i.judged_in_scan, v.verdict
        FROM audit_images i JOIN verdicts v USING (image_id)
        WHERE i.scan_id = :id ORDER BY i.uri
    """
    assert tuples(engine, seen, id=second) == [
        (URI.format("a"), first, "uncertain"), (URI.format("b"), second, "uncertain"),
    ]  # fmt: skip


def test_a_failed_image_is_looked_at_again(engine: Engine) -> None:
    model = add_model(engine)
    scan_id = ask(engine, is_audit=True)
    record(engine, scan_id, [found("a")])
    end(engine, scan_id)
    [message] = take(engine)
    held = claimed(engine, message.batch_id)
    assert store(engine, held, [failed(message.images[0])])
    assert counts(engine, audited(engine, [found("a")], model)[0]) == (0, 0, 0, 1, 0)


def test_an_image_that_is_still_pending_is_looked_at_again(engine: Engine) -> None:
    add_model(engine)
    record(engine, ask(engine, is_audit=True), [found("a")])
    scan_id = ask(engine, is_audit=True)
    assert record(engine, scan_id, [found("a")]) == Recorded(added=1)


def test_an_audit_reuses_the_verdicts_of_a_scan(engine: Engine) -> None:
    model = add_model(engine)
    scan_id = ask(engine)
    record(engine, scan_id, [found("a")])
    end(engine, scan_id)
    judge(engine, take(engine), {}, model)
    assert audited(engine, [found("a")], model)[1] == Recorded(unchanged=1)


def test_an_image_of_which_the_source_tells_nothing_is_always_looked_at(engine: Engine) -> None:
    model = add_model(engine)
    bare = ListedImage(URI.format("a"), "a")
    for _ in range(2):
        assert audited(engine, [bare], model)[1] == Recorded(added=1)


def test_nothing_stands_that_was_judged_by_another_policy_but_nothing_of_it_is_fetched(
    engine: Engine,
) -> None:
    model = add_model(engine)
    audited(engine, [found("a"), found("b")], model, b="copy of a", a="copy of a")
    scan_id = ask(engine, is_audit=True, policy="card")
    assert record(engine, scan_id, [found("a"), found("b")]) == Recorded(added=2)
    [message] = take(engine)
    assert len(message.images) == 2, "its scores are there, so nobody waits for anybody"
    with engine.connect() as connection:
        known = known_contents(connection, claimed(engine, message.batch_id))
    digest = content_of("copy of a").sha256
    assert {content.sha256 for content in known.values()} == {digest}
    assert len(known) == 2


def test_by_a_new_revision_each_content_is_fetched_once_and_its_copies_follow(
    engine: Engine,
) -> None:
    model = add_model(engine)
    images = [found(name) for name in "abcd"]
    audited(engine, images, model, a="one", b="two", c="one", d="one")
    newer = add_model(engine, revision="r2")
    scan_id = ask(engine, is_audit=True)
    record(engine, scan_id, images[:3])
    record(engine, scan_id, images[3:])
    assert counts(engine, scan_id) == (0, 0, 0, 4, None)
    messages = take(engine)
    fetched = [image.uri for message in messages for image in message.images]
    assert fetched == [URI.format("a"), URI.format("b")]
    with engine.begin() as connection:
        assert let_follow(connection) == 0, "the listing goes on"
    end(engine, scan_id)
    with engine.begin() as connection:
        assert let_follow(connection) == 0, "what they follow is in work"
    judge(engine, messages, {URI.format("a"): "one", URI.format("b"): "two"}, newer)
    with engine.begin() as connection:
        assert let_follow(connection) == 2
    following = [image.uri for message in take(engine) for image in message.images]
    assert following == [URI.format("c"), URI.format("d")]


@pytest.mark.parametrize("halt", [pause_scan, cancel_scan])
def test_copies_of_a_halted_audit_do_not_go(engine: Engine, halt: object) -> None:
    model = add_model(engine)
    images = [found("a"), found("b")]
    audited(engine, images, model, a="one", b="one")
    newer = add_model(engine, revision="r2")
    scan_id = ask(engine, is_audit=True)
    record(engine, scan_id, images)
    end(engine, scan_id)
    judge(engine, take(engine), {URI.format("a"): "one"}, newer)
    with engine.begin() as connection:
        assert halt(connection, scan_id)  # type: ignore[operator]
    with engine.begin() as connection:
        assert let_follow(connection) == 0


def test_where_no_worker_loaded_a_model_nothing_stands(engine: Engine) -> None:
    model = add_model(engine)
    audited(engine, [found("a")], model)
    scan_id = ask(engine, is_audit=True, models=("tiny", "other"))
    assert record(engine, scan_id, [found("a")]) == Recorded(added=1)


def test_only_audits_of_the_same_sources_and_choices_follow_each_other(engine: Engine) -> None:
    model = add_model(engine)
    audited(engine, [found("a"), found("b")], model)
    for other in (
        {"sources": (("s3://photos/2024/", None),)},
        {"selection": Selection(exclude=("*b.jpg",))},
        {"selection": Selection(since="7d")},
    ):
        scan_id = ask(engine, is_audit=True, **other)
        record(engine, scan_id, [found("a")])
        end(engine, scan_id)
        assert counts(engine, scan_id)[-1] is None, other


def test_a_cancelled_audit_is_none_to_compare_with(engine: Engine) -> None:
    model = add_model(engine)
    audited(engine, [found("a"), found("b")], model)
    cancelled = ask(engine, is_audit=True)
    record(engine, cancelled, [found("a")])
    with engine.begin() as connection:
        cancel_scan(connection, cancelled)
    run(engine, "UPDATE ledger.scans SET listed_at = now() WHERE scan_id = :id", id=cancelled)
    scan_id, _ = audited(engine, [found("a")], model)
    assert counts(engine, scan_id)[-1] == 1


def test_a_page_of_an_audit_is_recorded_whole_or_not_at_all(engine: Engine) -> None:
    model = add_model(engine)
    audited(engine, [found("a")], model)
    scan_id = ask(engine, is_audit=True)
    with engine.connect() as connection:
        page = Page([found("a"), found("b")], "b")
        assert record_page(connection, scan_id, Part(0, 0, ""), page, 10) == Recorded(1, 1)
        connection.rollback()
    assert counts(engine, scan_id) == (0, 0, 0, 0, None)
    query = "SELECT count(*) FROM ledger.sightings WHERE scan_id = :id"
    assert value(engine, query, id=scan_id) == 0
    assert record(engine, scan_id, page.images) == Recorded(1, 1)
    assert counts(engine, scan_id) == (1, 1, 0, 0, None)


def test_live_uploads_of_the_same_object_count_as_seen(engine: Engine) -> None:
    model = add_model(engine)
    scan_id = ask(engine, lane=Lane.LIVE)
    record(engine, scan_id, [found("a")])
    end(engine, scan_id)
    judge(engine, take(engine, Lane.LIVE), {}, model)
    assert audited(engine, [found("a")], model)[1] == Recorded(unchanged=1)
