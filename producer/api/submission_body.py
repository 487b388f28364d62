"""Reading a submission: JSON of a bounded size, within a bounded time, after the token was seen."""

import asyncio
import re
from collections.abc import AsyncIterator
from http import HTTPStatus

from anyio.to_thread import run_sync
from fastapi import Request
from pydantic import ValidationError

from fakesweep.producer.api.models import Submission
from fakesweep.serving.problems import Problem, ProblemCode, invalid

MOST_BYTES = 1024 * 1024
READ_SECONDS = 15.0

GRACE_SECONDS = 5.0
BYTES_PER_SECOND = 4 * 1024
"""After the grace, a body that comes more slowly is not waited for."""

_LENGTH = re.compile(r"[0-9]{1,19}")


async def read_submission(request: Request) -> Submission:
    """Return what was handed in.

    Raises:
        Problem: it is no JSON, too large, too slow, or not as the OpenAPI document says.
    """
    if media_type_of(request) != "application/json":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            ProblemCode.NOT_JSON,
            "send the body as application/json, or a picture as multipart/form-data",
            headers={"Accept-Post": "application/json, multipart/form-data"},
        )
    body = bytearray()
    async for piece in received(request, MOST_BYTES, READ_SECONDS):
        body += piece
    return await run_sync(_parsed, bytes(body))


def media_type_of(request: Request) -> str:
    """Return what a body says it is, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def received(request: Request, most_bytes: int, seconds: float) -> AsyncIterator[bytes]:
    """Yield a body as it comes, while it is no larger and no slower than it may be.

    Raises:
        Problem: it is.
    """
    announced = request.headers.get("content-length", "0")
    if not _LENGTH.fullmatch(announced) or int(announced) > most_bytes:
        raise _too_large(most_bytes)
    pieces, size, began = aiter(request.stream()), 0, asyncio.get_running_loop().time()
    while True:
        allowed = min(seconds, GRACE_SECONDS + size / BYTES_PER_SECOND)
        try:
            async with asyncio.timeout_at(began + allowed):
                piece = await anext(pieces, None)
        except TimeoutError as error:
            raise _too_slow(seconds) from error
        if piece is None:
            return
        size += len(piece)
        if size > most_bytes:
            raise _too_large(most_bytes)
        yield piece


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


def _too_large(most_bytes: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        ProblemCode.TOO_LARGE,
        f"the body is larger than {most_bytes} bytes; hand in less at once",
        headers={"Connection": "close"},
    )


def _too_slow(seconds: float) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_TIMEOUT,
        ProblemCode.TOO_SLOW,
        f"the body did not arrive within {seconds:g} s, or slower than {BYTES_PER_SECOND} bytes/s",
        headers={"Connection": "close"},
    )
