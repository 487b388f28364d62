"""The state of images: one, several, or page by page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from fakesweep.schema.words import VerdictWord

WALKED_IMAGES = 5_000
"""Most images that one page reads, matching or not."""

_IMAGES = text("""
    SELECT image_id, scan_id, uri, status, failure_code, failure_message, finished_at FROM images
    WHERE image_id = ANY(:image_ids)
""")

_VERDICTS = text("""
    SELECT image_id, model, p_fake, verdict, kind FROM verdicts
    WHERE image_id = ANY(:image_ids) ORDER BY image_id, model, model_id
""")

_ENDED = text("SELECT image_id FROM ledger.outcomes WHERE image_id = ANY(:image_ids)")

# Indexes lead from a scan to its batches, and from a batch to its images.
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
    """One model's verdict and scores for an image."""

    p_fake: float
    verdict: str
    kind: str | None


@dataclass(frozen=True, slots=True)
class ImageAnswer:
    """The state of an image: `status` is pending, classified, reused or failed.

    `verdicts` are by model key.
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
    """The end of a page, an image of a batch; images are ordered by batch."""

    batch_id: int = 0
    image_id: int = 0


@dataclass(frozen=True, slots=True)
class ImagePage:
    """Images in order, and the position of the next page, None at the end."""

    images: Sequence[ImageAnswer]
    end: Position | None


def image_answer(connection: Connection, image_id: int) -> ImageAnswer | None:
    """Return the state of an image, None where there is none."""
    return next(iter(image_answers(connection, [image_id])), None)


def image_answers(connection: Connection, image_ids: Sequence[int]) -> list[ImageAnswer]:
    """Return the states of images in the order asked for, without unknown ones."""
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
    """Return the page of images behind a position, by scan, verdict of any model and status.

    A page reads at most `WALKED_IMAGES` and may be short or empty; only a None `end` marks the last
    one.
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
    """Return those of the images that have a verdict or a failure."""
    return set(connection.execute(_ENDED, {"image_ids": list(image_ids)}).scalars())
