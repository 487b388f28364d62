"""Body of a submission: JSON with limits of size and time, read after authentication."""

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
"""Minimal rate of a body after the grace period."""

_LENGTH = re.compile(r"[0-9]{1,19}")


async def read_submission(request: Request) -> Submission:
    """Read and validate a submission.

    Raises:
        Problem: the body is no JSON, too large, too slow, or violates the OpenAPI document.
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
    """Return the media type of a body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def received(request: Request, most_bytes: int, seconds: float) -> AsyncIterator[bytes]:
    """Yield the pieces of a body within the limits of size and time.

    Raises:
        Problem: the body is too large or too slow.
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
