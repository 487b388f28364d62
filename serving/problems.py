"""Problem details (RFC 9457): the one shape of all API errors."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from fakesweep.schema.errors import LedgerAway
from fakesweep.schema.ledger.connection import first_line, may_pass

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
MOST_ERRORS = 100

log = structlog.get_logger(__name__)


class ProblemCode(StrEnum):
    """The closed list of error codes, for programs."""

    MALFORMED = "malformed"
    TOKEN_NEEDED = "token_needed"  # noqa: S105 - a word, no password
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - a word, no password
    SCOPE_MISSING = "scope_missing"
    FILE_NOT_ALLOWED = "file_not_allowed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_SLOW = "too_slow"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    NO_PLACE_FOR_PICTURES = "no_place_for_pictures"
    INVALID = "invalid"
    KEY_CONFLICT = "key_conflict"
    MORE_THAN_RATE = "more_than_rate"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_AT_ONCE = "too_many_at_once"
    FAILED = "failed"
    AWAY = "away"
    OVERLOADED = "overloaded"


class ProblemPart(BaseModel):
    """One invalid part of a request: its place, and the reason."""

    detail: str
    pointer: str | None = Field(None, description="JSON Pointer into the body")
    parameter: str | None = Field(None, description="Name of the parameter or header")


class ProblemDetails(BaseModel):
    """An error by RFC 9457: `code` is for programs, `detail` for people."""

    type: str = Field("about:blank", description="The status alone tells the type")
    title: str = Field(description="The phrase of the HTTP status")
    status: int
    code: ProblemCode
    detail: str = Field(description="The fault and the remedy, in one line")
    errors: list[ProblemPart] | None = None


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """An exception that ends a request with problem details."""

    def __init__(
        self,
        status: HTTPStatus,
        code: ProblemCode,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[ProblemPart] = (),
    ) -> None:
        super().__init__(detail)
        self.headers = dict(headers or {})
        self.details = ProblemDetails(
            title=status.phrase,
            status=status,
            code=code,
            detail=detail,
            errors=list(errors[:MOST_ERRORS]) or None,
        )

    def answer(self) -> Response:
        """Return the problem as a response."""
        return JSONResponse(
            self.details.model_dump(mode="json", exclude_none=True),
            self.details.status,
            self.headers,
            MEDIA_TYPE,
        )


def away(detail: str, *, code: ProblemCode = ProblemCode.AWAY) -> Problem:
    """Return the problem of a service that does not answer for now."""
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, code, detail, headers=headers)


def failed() -> Problem:
    """Return the problem of an internal error, whose traceback is in the log."""
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        ProblemCode.FAILED,
        "this is a fault of the server, and in its log",
    )


def invalid(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Return the problem of a request that violates the OpenAPI document.

    It does not repeat the request, which may hold secrets.
    """
    parts = [_part(error) for error in errors]
    where = parts[0].pointer or parts[0].parameter or "the body"
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        ProblemCode.INVALID,
        f"{where}: {parts[0].detail}",
        errors=parts,
    )


def ledger_problem(error: SQLAlchemyError) -> Problem:
    """Log a failed statement, and return its problem."""
    if may_pass(error):
        log.warning("ledger_away", reason=first_line(error))
        return _ledger_away()
    log.error("request_failed", reason=first_line(error), exc_info=error)
    return failed()


def handle_problems(app: FastAPI) -> None:
    """Install handlers that answer every error of the app with problem details."""
    app.add_exception_handler(Problem, _tell)
    app.add_exception_handler(HTTPException, _answer_status)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(SQLAlchemyError, _answer_ledger)
    app.add_exception_handler(LedgerAway, _answer_away)


def _tell(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - for the type checker
    return error.answer()


def _answer_status(request: Request, error: Exception) -> Response:
    """Answer a routing error: an unknown path, or another method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:  # each method has a route of its own
        headers["Allow"] = ", ".join(sorted(_methods(request) or {headers.get("Allow", "")}))
    code, detail = {
        HTTPStatus.NOT_FOUND: (ProblemCode.NOT_FOUND, "there is nothing at this path"),
        HTTPStatus.METHOD_NOT_ALLOWED: (
            ProblemCode.METHOD_NOT_ALLOWED,
            "this path knows other methods; the header Allow names them",
        ),
    }.get(status, (ProblemCode.MALFORMED, status.phrase))
    return Problem(status, code, detail, headers=headers).answer()


def _methods(request: Request) -> set[str]:
    """Return the methods that the request's path has."""
    paths: dict[str, dict[str, object]] = request.app.openapi()["paths"]
    return {
        method.upper()
        for path, methods in paths.items()
        if compile_path(path)[0].match(request.scope["path"])
        for method in methods
    }


def _answer_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - for the type checker
    return invalid(error.errors()).answer()


def _answer_ledger(_request: Request, error: Exception) -> Response:
    assert isinstance(error, SQLAlchemyError)  # noqa: S101 - for the type checker
    return ledger_problem(error).answer()


def _answer_away(_request: Request, _error: Exception) -> Response:
    return _ledger_away().answer()


def _ledger_away() -> Problem:
    return away(
        "the ledger does not answer; ask again later, with the same Idempotency-Key where there "
        "was one"
    )


def _part(error: Mapping[str, Any]) -> ProblemPart:
    place, *path = error["loc"] or ("body",)
    said = str(error["msg"]).removeprefix("Value error, ")
    if place in ("path", "header", "query"):
        return ProblemPart(detail=said, parameter=str(path[0]))
    return ProblemPart(detail=said, pointer="".join(f"/{one}" for one in path))
