"""Reading a submission: JSON of a bounded size, within a bounded time, after the token was seen."""

import asyncio
import re
from http import HTTPStatus

from fastapi import Request
from pydantic import ValidationError

from producer.api.models import Submission
from producer.api.problems import Problem, ProblemCode, invalid

MOST_BYTES = 1024 * 1024
READ_SECONDS = 15.0

_LENGTH = re.compile(r"[0-9]{1,19}")


async def read_submission(request: Request) -> Submission:
    """Return what was handed in.

    Raises:
        Problem: it is no JSON, too large, too slow, or not as the OpenAPI document says.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            ProblemCode.NOT_JSON,
            "send the body as application/json",
            headers={"Accept-Post": "application/json"},
        )
    try:
        async with asyncio.timeout(READ_SECONDS):
            body = await _read(request)
    except TimeoutError as error:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            ProblemCode.TOO_SLOW,
            f"the body did not arrive within {READ_SECONDS:g} s",
            headers={"Connection": "close"},
        ) from error
    return _parsed(body)


async def _read(request: Request) -> bytes:
    body = bytearray()
    announced = request.headers.get("content-length", "0")
    if not _LENGTH.fullmatch(announced) or int(announced) > MOST_BYTES:
        raise _too_large()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise _too_large()
    return bytes(body)


def _parsed(body: bytes) -> Submission:
    try:
        return Submission.model_validate_json(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        if errors[0]["type"] != "json_invalid":
            raise invalid([{**one, "loc": ("body", *one["loc"])} for one in errors]) from error
        raise Problem(
            HTTPStatus.BAD_REQUEST, ProblemCode.MALFORMED, f"the body: {errors[0]['msg']}"
        ) from error


def _too_large() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        ProblemCode.TOO_LARGE,
        f"the body is larger than {MOST_BYTES} bytes; hand in fewer images at once",
        headers={"Connection": "close"},
    )
