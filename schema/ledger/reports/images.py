"""Statements that say how images stand: one, several, and page by page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from fakesweep.schema.words import VerdictWord

WALKED_IMAGES = 5_000
"""A page looks at so many images at most, however few of them it is about."""

_IMAGES = text("""
    SELECT image_id, scan_id, uri, status, failure_code, failure_message, finished_at FROM images
    WHERE image_id = ANY(:image_ids)
""")

_VERDICTS = text("""
    SELECT image_id, model, p_fake, verdict, kind FROM verdicts
    WHERE image_id = ANY(:image_ids) ORDER BY image_id, model, model_id
""")

_ENDED = text("SELECT image_id FROM ledger.outcomes WHERE image_id = ANY(:image_ids)")

# By batch, as an index leads from a scan to its batches, and from a batch to its images.
_PAGE = """
    WITH walked AS (
        SELECT batch_id, image_id FROM images
        WHERE batch_id >= :batch_id AND (batch_id > :batch_id OR image_id > :image_id) {of_scan}
        ORDER BY batch_id, image_id LIMIT :walked
    ), found AS (
        SELECT w.batch_id, w.image_id FROM walked w WHERE true {of_status} {of_verdict}
        ORDER BY w.batch_id, w.image_id LIMIT :limit
    )
    SELECT f.batch_id, f.image_id, true AS is_found FROM found f
    UNION ALL (
        SELECT w.batch_id, w.image_id, false FROM walked w
        ORDER BY w.batch_id, w.image_id OFFSET :walked - 1
    )
"""
_OF_SCAN = "AND scan_id = :scan_id"
_OF_STATUS = """
    AND EXISTS (SELECT FROM images i WHERE i.image_id = w.image_id AND i.status = :status)
"""
_OF_VERDICT = """
    AND EXISTS (
        SELECT FROM verdicts v
        WHERE v.image_id = w.image_id AND v.verdict = CAST(:verdict AS ledger.verdict)
    )
"""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What one model made of an image."""

    p_fake: float
    verdict: str
    kind: str | None


@dataclass(frozen=True, slots=True)
class ImageAnswer:
    """How an image stands: `status` is pending, classified, reused or failed.

    `verdicts` are by model key, those of models that have answered.
    """

    image_id: int
    scan_id: int
    uri: str
    status: str
    verdicts: Mapping[str, ModelAnswer]
    failure_code: str | None
    failure_message: str | None
    finished_at: datetime | None


class Position(NamedTuple):
    """Where a page ends: behind an image of a batch. Images are in the order of their batches."""

    batch_id: int = 0
    image_id: int = 0


@dataclass(frozen=True, slots=True)
class ImagePage:
    """Images in order, and where the next page begins, None where there is none."""

    images: Sequence[ImageAnswer]
    end: Position | None


def image_answer(connection: Connection, image_id: int) -> ImageAnswer | None:
    """Return how an image stands, None where there is none."""
    return next(iter(image_answers(connection, [image_id])), None)


def image_answers(connection: Connection, image_ids: Sequence[int]) -> list[ImageAnswer]:
    """Return how images stand, in the order that is asked for, without those there are none of."""
    wanted = {"image_ids": list(image_ids)}
    images = {row["image_id"]: row for row in connection.execute(_IMAGES, wanted).mappings()}
    verdicts: dict[int, dict[str, ModelAnswer]] = {image_id: {} for image_id in images}
    for row in connection.execute(_VERDICTS, wanted):
        if row.image_id in verdicts:
            verdicts[row.image_id][row.model] = ModelAnswer(row.p_fake, row.verdict, row.kind)
    return [
        ImageAnswer(verdicts=verdicts[image_id], **images[image_id])
        for image_id in image_ids
        if image_id in images
    ]


def image_page(
    connection: Connection,
    after: Position,
    limit: int,
    *,
    scan_id: int | None = None,
    verdict: VerdictWord | None = None,
    status: str | None = None,
) -> ImagePage:
    """Return the images behind a position, of a scan, with a verdict by any model, of a status.

    A page that has fewer than `limit`, even none, is the last only where its `end` is None: no more
    than `WALKED_IMAGES` are looked at for it.
    """
    wanted = {"scan_id": scan_id, "status": status, "verdict": verdict and verdict.value}
    page = _PAGE.format(
        of_scan="" if scan_id is None else _OF_SCAN,
        of_status="" if status is None else _OF_STATUS,
        of_verdict="" if verdict is None else _OF_VERDICT,
    )
    walk = {"walked": WALKED_IMAGES, "limit": limit}
    given = {name: value for name, value in wanted.items() if value is not None}
    rows = connection.execute(text(page), after._asdict() | walk | given).all()
    found = [Position(row.batch_id, row.image_id) for row in rows if row.is_found]
    walked = [Position(row.batch_id, row.image_id) for row in rows if not row.is_found]
    end = found[-1] if len(found) == limit else next(iter(walked), None)
    return ImagePage(image_answers(connection, [one.image_id for one in found]), end)


def ended_images(connection: Connection, image_ids: Iterable[int]) -> set[int]:
    """Return which of these images have a verdict or a failure."""
    return set(connection.execute(_ENDED, {"image_ids": list(image_ids)}).scalars())
