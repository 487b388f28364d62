"""Digest runs of audits: unchanged runs stand as a whole, changed ones do not."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.registry.policies import rejudge
from fakesweep.schema.ledger.scans import listing
from fakesweep.schema.ledger.scans.audit_digests import DigestRun, digests_of
from fakesweep.schema.ledger.scans.listing import Page, Recorded, record_page
from fakesweep.schema.ledger.scans.scans import ListedImage
from fakesweep.schema.ledger.scans.source_parts import Part
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
SEEN = "SELECT image_id FROM audit_images WHERE scan_id = :id ORDER BY image_id"


def archive(count: int = 1_000) -> list[ListedImage]:
    return [ListedImage(f"s3://a/{n:05}", f"{n:05}", 10, "e", WHEN) for n in range(count)]


def audited(
    engine: Engine, images: Sequence[ListedImage], model: int, broken: str = ""
) -> tuple[int, Recorded]:
    """Run an audit of a listing; the image of the URI `broken` fails."""
    scan_id = ask(engine, is_audit=True)
    with engine.begin() as connection:
        page = Page(images, images[-1].cursor)
        recorded = record_page(connection, scan_id, Part(0, 0, ""), page, 256)
    assert recorded is not None
    end(engine, scan_id)
    for message in take(engine):
        held = claimed(engine, message.batch_id)
        outcomes = [
            failed(image) if image.uri == broken
            else judged(held, image, content_of(image.uri), {model: 0.5})
            for image in message.images
        ]  # fmt: skip
        assert store(engine, held, outcomes)
    return scan_id, recorded


@pytest.fixture
def model(engine: Engine) -> int:
    return add_model(engine)


def test_a_standing_run_is_recognised_without_comparing_images(
    engine: Engine, model: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, recorded = audited(engine, archive(), model)
    assert (recorded.added, recorded.unchanged, recorded.known) == (1_000, 0, 0)
    compared: list[DigestRun] = []

    def staged(_: Sequence[ListedImage], runs: Sequence[DigestRun]) -> bytes:
        compared.extend(runs)
        return b""

    monkeypatch.setattr(listing, "staged", staged)
    second, recorded = audited(engine, archive(), model)
    assert (recorded.added, recorded.unchanged, recorded.known) == (0, 1_000, 1_000)
    assert compared == []
    assert tuples(engine, SEEN, id=second) == tuples(engine, SEEN, id=first)
    third, recorded = audited(engine, archive(), model)
    assert recorded.known == 1_000
    assert value(engine, "SELECT vanished FROM scan_progress WHERE scan_id = :id", id=third) == 0


def test_of_a_run_with_a_change_each_image_is_compared_and_of_others_none(
    engine: Engine, model: int
) -> None:
    images = archive()
    audited(engine, images, model)
    [touched] = [one for one in digests_of(images) if one.first <= 500 < one.end]
    images[500] = images[500]._replace(etag="e2")
    scan_id, recorded = audited(engine, images, model)
    assert (recorded.added, recorded.unchanged) == (1, 999)
    assert recorded.known == 1_000 - (touched.end - touched.first)
    assert len(tuples(engine, SEEN, id=scan_id)) == 1_000
    _, recorded = audited(engine, images, model)
    assert recorded.known == 1_000, "with its change the run is known, too"


def test_an_image_that_vanishes_from_a_run_is_found(engine: Engine, model: int) -> None:
    images = archive()
    audited(engine, images, model)
    gone = images.pop(500)
    scan_id, _ = audited(engine, images, model)
    query = "SELECT change, uri FROM audit_changes WHERE scan_id = :id"
    assert tuples(engine, query, id=scan_id) == [("vanished", gone.uri)]


def test_a_run_with_an_image_that_failed_is_compared_until_it_is_judged(
    engine: Engine, model: int
) -> None:
    images = archive(300)
    audited(engine, images, model, broken=images[7].uri)
    _, recorded = audited(engine, images, model, broken=images[7].uri)
    assert (recorded.added, recorded.unchanged) == (1, 299)
    _, recorded = audited(engine, images, model)
    assert (recorded.added, recorded.unchanged) == (1, 299)
    _, recorded = audited(engine, images, model)
    assert (recorded.added, recorded.known) == (0, 300)


def test_nothing_stands_by_another_revision_or_policy(engine: Engine, model: int) -> None:
    images = archive(300)
    first, _ = audited(engine, images, model)
    newer = add_model(engine, revision="r2")
    _, recorded = audited(engine, images, newer)
    assert (recorded.added, recorded.known) == (300, 0)
    scan_id, recorded = audited(engine, images, newer)
    assert recorded.known == 300
    run(engine, "SELECT set_policy('default', 0.1, 0.9)")
    _, recorded = audited(engine, images, newer)
    assert (recorded.added, recorded.known) == (300, 0)
    assert first < scan_id


def test_a_run_whose_images_were_judged_by_another_policy_since_does_not_stand(
    engine: Engine, model: int
) -> None:
    images = archive(300)
    scan_id, _ = audited(engine, images, model)
    run(engine, "INSERT INTO ledger.policies (name, real_below, fake_above) VALUES ('w', 0.1, 0.9)")
    with engine.begin() as connection:
        rejudge(connection, scan_id, "w")
    _, recorded = audited(engine, images, model)
    assert (recorded.added, recorded.known) == (300, 0)


def test_an_image_listed_twice_makes_its_run_unknown_and_is_recorded_once(
    engine: Engine, model: int
) -> None:
    images = archive(300)
    images.insert(11, images[10])
    scan_id, recorded = audited(engine, images, model)
    assert recorded.added == 300
    assert len(tuples(engine, SEEN, id=scan_id)) == 300
    _, recorded = audited(engine, images, model)
    assert (recorded.added, recorded.unchanged) == (0, 301)
