"""Submissions of a request: addresses as JSON, or a picture as a form."""

from dataclasses import dataclass
from http import HTTPStatus
from pathlib import PurePath

import structlog
from anyio.to_thread import run_sync
from fastapi import Request

from fakesweep.producer.api.forms import FORM_BYTES, MEDIA_TYPE, Form, FormError
from fakesweep.producer.api.models import Submission
from fakesweep.producer.api.pictures import SETTING
from fakesweep.producer.api.resources import Resources
from fakesweep.producer.api.submission_body import media_type_of, read_submission, received
from fakesweep.schema.errors import OutputError
from fakesweep.schema.ledger.api_tokens import Caller
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import normalise, scheme_of, to_path
from fakesweep.schema.words import Lane
from fakesweep.serving.problems import Problem, ProblemCode, ProblemPart, away, invalid

PICTURE_SECONDS = 300.0
"""Time limit of a picture's transfer."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SubmittedImages:
    """Submitted images, in the order of the answer."""

    uris: list[str]
    lane: Lane


async def read_submitted(request: Request, caller: Caller, opened: Resources) -> SubmittedImages:
    """Read a request's images, count them against the token's rate, and store a picture.

    Raises:
        Problem: the request is malformed, too large, too slow, over the rate, or not allowed.
    """
    if media_type_of(request) == MEDIA_TYPE:
        await _count(caller, 1, opened)
        return await _read_picture(request, opened)
    submission = await read_submission(request)
    await run_sync(_check_files, submission, opened.producer.settings)
    uris = submission.every_uri
    await _count(caller, len(uris), opened)
    return SubmittedImages(uris, Lane(submission.lane))


async def _read_picture(request: Request, opened: Resources) -> SubmittedImages:
    if opened.pictures is None:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            ProblemCode.NO_PLACE_FOR_PICTURES,
            f"this API keeps no pictures, as {SETTING} names no place for them; hand in addresses "
            f"as application/json",
            headers={"Accept-Post": "application/json"},
        )
    most_bytes = opened.producer.settings.max_image_bytes + FORM_BYTES
    try:
        form = Form(request.headers["content-type"])
        kept = await opened.pictures.keep(form, received(request, most_bytes, PICTURE_SECONDS))
    except FormError as error:
        place = (error.field,) if error.field else ()
        raise invalid([{"loc": ("body", *place), "msg": str(error)}]) from error
    except OutputError as error:
        log.error("picture_not_kept", reason=str(error))
        raise away("the picture cannot be kept now; hand it in again later") from error
    return SubmittedImages([kept.uri], Lane(kept.lane or Lane.LIVE))


def _check_files(submission: Submission, settings: Settings) -> None:
    """Refuse files outside the folders that the operator allows."""
    refused = [
        ProblemPart(
            detail="outside the folders of FAKESWEEP_FILE_ROOTS",
            pointer=f"/uris/{number}" if submission.uris else "/uri",
        )
        for number, uri in enumerate(map(normalise, submission.every_uri))
        if scheme_of(uri) == "file" and not _is_below(to_path(uri), settings)
    ]
    if refused:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            ProblemCode.FILE_NOT_ALLOWED,
            "a file is read only below the folders that the operator allows",
            errors=refused,
        )


def _is_below(path: PurePath, settings: Settings) -> bool:
    return any(path.is_relative_to(root) for root in settings.file_roots)


async def _count(caller: Caller, images: int, opened: Resources) -> None:
    if images > caller.rate_per_minute:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            ProblemCode.MORE_THAN_RATE,
            f"{images} images are more than the {caller.rate_per_minute} that this token may hand "
            f"in in a minute; hand in fewer at once",
        )
    seconds = await run_sync(opened.limits.take, caller, images)
    if seconds:
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            ProblemCode.RATE_LIMITED,
            f"this token may hand in {caller.rate_per_minute} images a minute; "
            f"try again in {seconds:.0f} s",
            headers={"Retry-After": f"{seconds:.0f}"},
        )
