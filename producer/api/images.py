"""Image routes: submit images, list them, and read one."""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from fakesweep.producer.api.documents import ACCEPTED_LINKS, SUBMISSION_BODY
from fakesweep.producer.api.long_poll import MOST_SECONDS
from fakesweep.producer.api.models import (
    Accepted,
    AcceptedImage,
    Failure,
    Image,
    ImagePage,
    ImageStatus,
    ModelVerdict,
    RowId,
)
from fakesweep.producer.api.pages import Limit, OfScan, PageEnd, position_of, written
from fakesweep.producer.api.resources import Opened, Resources
from fakesweep.producer.api.submissions import SubmittedImages, read_submitted
from fakesweep.producer.uploads import Submitted, Upload
from fakesweep.schema.errors import SubmissionConflict
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.ledger.api_tokens import Caller
from fakesweep.schema.ledger.reports.images import (
    ImageAnswer,
    image_answer,
    image_answers,
    image_page,
)
from fakesweep.schema.words import Scope, VerdictWord
from fakesweep.serving.auth import caller_with, check_scope
from fakesweep.serving.openapi import Responses, problems, problems_of_reading
from fakesweep.serving.problems import Problem, ProblemCode, ProblemPart, invalid

REPLAYED = "Idempotent-Replayed"

router = APIRouter(prefix="/v1/images", tags=["images"])

Submitter = Annotated[Caller, Depends(caller_with(Scope.SUBMIT))]
Reader = Annotated[Caller, Depends(caller_with(Scope.READ))]
_Word = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-~]+$")]
Key = Annotated[
    _Word | SkipJsonSchema[None],
    Header(
        alias="Idempotency-Key",
        description=(
            "A key of the caller's choice for these images: a repeated request with the same key "
            "gets the same answer, and nothing is judged twice. Keys belong to their token."
        ),
        examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
    ),
]
WaitSeconds = Annotated[
    int,
    Query(
        ge=0,
        le=MOST_SECONDS,
        description=(
            "Seconds to wait for the images to end: 200 once all have ended, else 202. "
            "Needs the scope `read`. With too many waiting requests the answer comes at once."
        ),
        examples=[10],
    ),
]

_ANSWERS: Responses = {
    HTTPStatus.OK: {
        "model": Accepted,
        "description": (
            "These images were submitted before, with the same Idempotency-Key; or all of them "
            "ended while the request waited"
        ),
        "headers": {REPLAYED: {"schema": {"type": "string", "enum": ["true"]}}},
        "links": ACCEPTED_LINKS,
    },
    HTTPStatus.ACCEPTED: {"links": ACCEPTED_LINKS},
}


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    operation_id="submit_images",
    summary="Submit images",
    response_description="The images are recorded, and will be judged",
    response_model_exclude_none=True,
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
async def submit_images(
    *,
    caller: Submitter,
    request: Request,
    opened: Opened,
    response: Response,
    key: Key = None,
    wait: WaitSeconds = 0,
) -> Accepted:
    """Record images for judging, all of them or none: by address, or one picture as bytes.

    Without an `Idempotency-Key`, a resubmitted image is judged again.
    """
    if wait:
        check_scope(caller, Scope.READ)
    images = await read_submitted(request, caller, opened)
    submitted = await run_sync(_submit, opened, caller, images, key)
    accepted = _accepted(images.uris, submitted)
    if submitted.is_repeated:
        response.status_code = HTTPStatus.OK
        response.headers[REPLAYED] = "true"
    if wait:
        found = await _wait_for(wait, submitted.image_ids, request, caller, opened)
        accepted = _with_status(accepted, found)
        has_ended = all(one.status != "pending" for one in found)
        response.status_code = HTTPStatus.OK if has_ended else HTTPStatus.ACCEPTED
    return accepted


@router.get(
    "",
    operation_id="list_images",
    summary="List images",
    response_description="A page of images",
    response_model_exclude_none=True,
    responses=problems_of_reading(HTTPStatus.NOT_FOUND),
)
def list_images(
    *,
    _caller: Reader,
    opened: Opened,
    scan: OfScan = None,
    verdict: Annotated[
        VerdictWord | SkipJsonSchema[None], Query(description="By any model")
    ] = None,
    status: Annotated[ImageStatus | SkipJsonSchema[None], Query()] = None,
    after: PageEnd = None,
    limit: Limit = 100,
) -> ImagePage:
    """Return images page by page in the order of their recording, of one scan or of all.

    A page may have fewer than `limit` images, even none; only `next` says whether more may follow.
    """
    with opened.producer.engine.connect() as connection:
        page = image_page(
            connection, position_of(after), limit, scan_id=scan, verdict=verdict, status=status
        )
    asked = {"scan": scan, "verdict": verdict, "status": status, "limit": limit}
    following = {name: said for name, said in asked.items() if said is not None}
    return ImagePage(
        images=[_shown(one) for one in page.images],
        next=page.end and f"{router.prefix}?{urlencode(following | {'after': written(page.end)})}",
    )


@router.get(
    "/{image_id}",
    operation_id="get_image",
    summary="Read an image",
    response_description="Status and verdicts of the image",
    response_model_exclude_none=True,
    responses={
        HTTPStatus.ACCEPTED: {
            "model": Image,
            "description": "The image is still pending after the requested wait",
        }
    }
    | problems_of_reading(),
)
async def get_image(
    *,
    caller: Reader,
    request: Request,
    image_id: RowId,
    opened: Opened,
    response: Response,
    wait: WaitSeconds = 0,
) -> Image:
    """Return an image's status, with its verdict by each model or its failure."""
    found = await run_sync(_found, opened, image_id)
    if wait and found.status == "pending":
        [found] = await _wait_for(wait, [image_id], request, caller, opened)
        if found.status == "pending":
            response.status_code = HTTPStatus.ACCEPTED
    return _shown(found)


async def _wait_for(
    seconds: int, image_ids: Sequence[int], request: Request, caller: Caller, opened: Resources
) -> list[ImageAnswer]:
    """Return images once all have ended, or after `seconds`."""
    async with request.state.place.left():
        await opened.long_poll.ended(
            caller.token_id, image_ids, seconds, partial(_disconnected, request)
        )

    def read() -> list[ImageAnswer]:
        with opened.producer.engine.connect() as connection:
            return image_answers(connection, image_ids)

    return await run_sync(read)


async def _disconnected(request: Request) -> None:
    """Return once the caller has disconnected; the rest of the request is dropped."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _found(opened: Resources, image_id: int) -> ImageAnswer:
    with opened.producer.engine.connect() as connection:
        found = image_answer(connection, image_id)
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, ProblemCode.NOT_FOUND, f"there is no image {image_id}")
    return found


def _submit(
    opened: Resources, caller: Caller, images: SubmittedImages, key: str | None
) -> Submitted:
    try:
        return opened.uploads.submit(
            [Upload(uri) for uri in images.uris],
            lane=images.lane,
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


def _accepted(uris: list[str], submitted: Submitted) -> Accepted:
    return Accepted(
        scan_id=submitted.scan_id,
        scan=f"/v1/scans/{submitted.scan_id}",
        images=[
            AcceptedImage(uri=uri, image_id=image_id, href=f"{router.prefix}/{image_id}")
            for uri, image_id in zip(uris, submitted.image_ids, strict=True)
        ],
    )


def _with_status(accepted: Accepted, found: Sequence[ImageAnswer]) -> Accepted:
    """Return the accepted images with their status."""
    by_id = {one.image_id: _status_fields(one) for one in found}
    updated = [one.model_copy(update=by_id.get(one.image_id, {})) for one in accepted.images]
    return accepted.model_copy(update={"images": updated})


def _shown(found: ImageAnswer) -> Image:
    return Image(
        image_id=found.image_id,
        scan_id=found.scan_id,
        uri=found.uri,
        failure=found.failure_code
        and Failure(code=found.failure_code, message=found.failure_message),
        **_status_fields(found),
    )


def _status_fields(found: ImageAnswer) -> dict[str, Any]:
    return {
        "status": found.status,
        "verdicts": {
            model: ModelVerdict(p_fake=one.p_fake, verdict=one.verdict, kind=one.kind)
            for model, one in found.verdicts.items()
        },
        "failure_code": found.failure_code,
        "failure_message": found.failure_message,
        "finished_at": found.finished_at,
    }
