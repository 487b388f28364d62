"""Handing images in, and asking what came of one."""

from http import HTTPStatus
from pathlib import PurePath
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from producer.api.auth import caller_with
from producer.api.bodies import read_submission
from producer.api.documents import (
    ACCEPTED_LINKS,
    SUBMISSION_BODY,
    Responses,
    problems,
    problems_of_reading,
)
from producer.api.models import (
    Accepted,
    AcceptedImage,
    Failure,
    Image,
    ModelVerdict,
    RowId,
    Submission,
)
from producer.api.problems import Problem, ProblemCode, ProblemPart, invalid
from producer.api.resources import Opened
from producer.uploads import Submitted, Upload
from schema.errors import SubmissionConflict
from schema.failures import InvalidUri
from schema.settings import Settings
from schema.tokens import Caller, Scope
from schema.uploads import ImageAnswer, image_answer
from schema.uris import normalise, scheme_of, to_path
from schema.words import Lane

REPLAYED = "Idempotent-Replayed"

router = APIRouter(prefix="/v1/images", tags=["images"])

Submitter = Annotated[Caller, Depends(caller_with(Scope.SUBMIT))]
Reader = Annotated[Caller, Depends(caller_with(Scope.READ))]
Handed = Annotated[Submission, Depends(read_submission)]
_Word = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-~]+$")]
Key = Annotated[
    _Word | SkipJsonSchema[None],
    Header(
        alias="Idempotency-Key",
        description=(
            "A word of the caller's own for these images: asked again with the same word, the "
            "same is answered and nothing is judged twice. Each token has words of its own."
        ),
        examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
    ),
]

_ANSWERS: Responses = {
    HTTPStatus.OK: {
        "model": Accepted,
        "description": "These images were handed in before, with the same Idempotency-Key",
        "headers": {REPLAYED: {"required": True, "schema": {"type": "string", "enum": ["true"]}}},
        "links": ACCEPTED_LINKS,
    },
    HTTPStatus.ACCEPTED: {"links": ACCEPTED_LINKS},
}


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    operation_id="submit_images",
    summary="Hand images in",
    response_description="The images are recorded, and will be judged",
    openapi_extra=SUBMISSION_BODY,
    responses=_ANSWERS
    | problems(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
def submit_images(
    caller: Submitter, submission: Handed, opened: Opened, response: Response, key: Key = None
) -> Accepted:
    """Record images to be judged, all of them or none.

    Without an `Idempotency-Key`, the same URI handed in again is looked at again.
    """
    uris = submission.every_uri
    _check_files(submission, opened.producer.settings)
    _count(caller, len(uris), opened)
    try:
        submitted = opened.uploads.submit(
            [Upload(uri) for uri in uris],
            lane=Lane(submission.lane),
            key=None if key is None else f"token {caller.token_id} {key}",
        )
    except InvalidUri as error:
        raise invalid([{"loc": ("body",), "msg": str(error)}]) from error
    except SubmissionConflict as error:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            ProblemCode.KEY_CONFLICT,
            "this Idempotency-Key was used before, for other images; use a new one",
            errors=[ProblemPart(detail="used before", parameter="Idempotency-Key")],
        ) from error
    if submitted.is_repeated:
        response.status_code = HTTPStatus.OK
        response.headers[REPLAYED] = "true"
    return _accepted(uris, submitted)


@router.get(
    "/{image_id}",
    operation_id="get_image",
    summary="Ask what came of an image",
    response_description="How the image stands",
    response_model_exclude_none=True,
    responses=problems_of_reading(),
)
def get_image(_caller: Reader, image_id: RowId, opened: Opened) -> Image:
    """Return whether an image is pending, or its verdict by each model, or why it has none."""
    with opened.producer.engine.connect() as connection:
        found = image_answer(connection, image_id)
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, ProblemCode.NOT_FOUND, f"there is no image {image_id}")
    return _shown(found)


def _check_files(submission: Submission, settings: Settings) -> None:
    """Refuse files that the operator has not allowed: no caller makes workers read others."""
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


def _count(caller: Caller, images: int, opened: Opened) -> None:
    if images > caller.rate_per_minute:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            ProblemCode.MORE_THAN_RATE,
            f"{images} images are more than the {caller.rate_per_minute} that this token may hand "
            f"in in a minute; hand in fewer at once",
        )
    seconds = opened.limits.take(caller, images)
    if seconds:
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            ProblemCode.RATE_LIMITED,
            f"this token may hand in {caller.rate_per_minute} images a minute; "
            f"try again in {seconds:.0f} s",
            headers={"Retry-After": f"{seconds:.0f}"},
        )


def _accepted(uris: list[str], submitted: Submitted) -> Accepted:
    return Accepted(
        scan_id=submitted.scan_id,
        scan=f"/v1/scans/{submitted.scan_id}",
        images=[
            AcceptedImage(uri=uri, image_id=image_id, href=f"{router.prefix}/{image_id}")
            for uri, image_id in zip(uris, submitted.image_ids, strict=True)
        ],
    )


def _shown(found: ImageAnswer) -> Image:
    return Image(
        image_id=found.image_id,
        scan_id=found.scan_id,
        uri=found.uri,
        status=found.status,
        verdicts={
            model: ModelVerdict(p_fake=one.p_fake, verdict=one.verdict, kind=one.kind)
            for model, one in found.verdicts.items()
        },
        failure=found.failure_code
        and Failure(code=found.failure_code, message=found.failure_message),
        finished_at=found.finished_at,
    )
