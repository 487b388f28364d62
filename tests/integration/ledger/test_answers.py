"""Pages of images: by scan, verdict and status, bounded in work."""

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.reports import images
from fakesweep.schema.ledger.reports.images import Position, ended_images, image_page
from fakesweep.schema.words import VerdictWord
from tests.integration.ledger.rows import (
    add_model,
    ask,
    claimed,
    failed,
    record,
    scan,
    store,
    take_one,
    value,
)


def listed(engine: Engine, limit: int = 2, **asked: object) -> list[list[str]]:
    """Return the URIs of each page."""
    pages, after = [], Position()
    while True:
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL ROLE fakesweep_api")
            page = image_page(connection, after, limit, **asked)  # type: ignore[arg-type]
        pages.append([one.uri for one in page.images])
        if page.end is None:
            return pages
        assert page.end > after
        after = page.end


def test_images_are_listed_by_scan_verdict_and_status(engine: Engine) -> None:
    tiny, other = add_model(engine, "tiny"), add_model(engine, "other")
    scores = {
        "s3://photos/a": {tiny: 0.9, other: 0.1},
        "s3://photos/b": {tiny: 0.1, other: 0.1},
        "s3://photos/c": {tiny: 0.1, other: 0.9},
    }
    first, _ = scan(engine, scores, models=("tiny", "other"))
    second = ask(engine)
    record(engine, second, ["s3://photos/d", "s3://photos/e"])
    message = take_one(engine)
    held = claimed(engine, message.batch_id)
    assert listed(engine, scan_id=second, status="pending") == [
        ["s3://photos/d", "s3://photos/e"],
        [],
    ]
    store(engine, held, [failed(image) for image in message.images])
    fake = {"verdict": VerdictWord.FAKE}
    assert listed(engine, 10, scan_id=first) == [list(scores)]
    assert listed(engine, 10, scan_id=first, **fake) == [["s3://photos/a", "s3://photos/c"]]
    assert listed(engine, 10, **fake) == [["s3://photos/a", "s3://photos/c"]]
    assert listed(engine, 10, status="failed") == [["s3://photos/d", "s3://photos/e"]]
    assert listed(engine, 10, scan_id=second, **fake) == [[]]
    assert listed(engine, 10, scan_id=second, status="pending") == [[]]
    assert listed(engine, 2) == [
        ["s3://photos/a", "s3://photos/b"],
        ["s3://photos/c", "s3://photos/d"],
        ["s3://photos/e"],
    ]
    assert listed(engine, scan_id=second + 1) == [[]]


def test_a_page_looks_at_a_bounded_number_of_images(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "WALKED_IMAGES", 3)
    tiny = add_model(engine)
    uris = [f"s3://photos/{number}" for number in range(8)]
    scan_id, _ = scan(engine, {uri: {tiny: 0.9 if uri == uris[-1] else 0.1} for uri in uris})
    pages = listed(engine, 2, scan_id=scan_id, verdict=VerdictWord.FAKE)
    assert [one for page in pages for one in page] == [uris[-1]]
    assert pages[0] == []


def test_images_that_ended_are_known(engine: Engine) -> None:
    tiny = add_model(engine)
    _, [image] = scan(engine, {"s3://photos/a": {tiny: 0.9}})
    record(engine, ask(engine), ["s3://photos/b"])
    pending = value(engine, "SELECT image_id FROM ledger.images WHERE uri = 's3://photos/b'")
    with engine.connect() as connection:
        assert ended_images(connection, [image.image_id, pending]) == {image.image_id}
