"""OpenAPI documents: FastAPI's routes with the errors of each."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.responses import Response

from fakesweep import schema
from fakesweep.serving.problems import MEDIA_TYPE, ProblemCode, ProblemDetails

Responses = dict[int | str, dict[str, Any]]


REFERENCE = "#/components/schemas/{model}"


_WHY: dict[HTTPStatus, tuple[ProblemCode, str]] = {
    HTTPStatus.BAD_REQUEST: (
        ProblemCode.MALFORMED,
        "The body is no JSON, or the request can be read in two ways",
    ),
    HTTPStatus.UNAUTHORIZED: (
        ProblemCode.TOKEN_INVALID,
        "There is no token, or it is unknown, revoked or expired",
    ),
    HTTPStatus.FORBIDDEN: (
        ProblemCode.SCOPE_MISSING,
        "The token lacks the scope, or a file is outside the folders the operator allows",
    ),
    HTTPStatus.NOT_FOUND: (ProblemCode.NOT_FOUND, "There is none of this number"),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        ProblemCode.METHOD_NOT_ALLOWED,
        "This path has other methods",
    ),
    HTTPStatus.REQUEST_TIMEOUT: (ProblemCode.TOO_SLOW, "The body did not arrive in time"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        ProblemCode.TOO_LARGE,
        "The body is larger than 1 MiB, or the picture than images may be",
    ),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (
        ProblemCode.NOT_JSON,
        "The body is neither JSON nor a form, or the API has no place for pictures",
    ),
    HTTPStatus.UNPROCESSABLE_ENTITY: (
        ProblemCode.INVALID,
        "The request violates this document, or cannot be fulfilled",
    ),
    HTTPStatus.TOO_MANY_REQUESTS: (
        ProblemCode.RATE_LIMITED,
        "The token's rate is used up, or it has too many requests in progress",
    ),
    HTTPStatus.INTERNAL_SERVER_ERROR: (ProblemCode.FAILED, "A fault of the server"),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        ProblemCode.AWAY,
        "A service behind the API does not answer, or too many requests are in progress",
    ),
}


_HEADERS: dict[HTTPStatus, tuple[str, str, dict[str, Any]]] = {
    HTTPStatus.UNAUTHORIZED: (
        "WWW-Authenticate",
        "The authentication scheme (RFC 6750)",
        {"type": "string"},
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: ("Allow", "The methods of this path", {"type": "string"}),
    HTTPStatus.TOO_MANY_REQUESTS: (
        "Retry-After",
        "Seconds until these images are admitted",
        {"type": "integer", "minimum": 1},
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "Retry-After",
        "Seconds to wait before a retry",
        {"type": "integer", "minimum": 1},
    ),
}


def problems(*statuses: HTTPStatus) -> Responses:
    """Return the OpenAPI responses for a route's errors."""
    return {int(status): _problem(status) for status in sorted(statuses)}


def problems_of_reading(*without: HTTPStatus) -> Responses:
    """Return the OpenAPI responses for the errors of a route that reads, without some."""
    statuses = {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    }
    return problems(*(statuses - set(without)))


def add_document(app: FastAPI, about: str, models: Sequence[type[BaseModel]] = ()) -> None:
    """Add a cached OpenAPI document to the app.

    `models` are in it beside those of the routes.
    """

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, about, (*models, ProblemDetails))
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to extend it
    written = b""

    async def show(_request: Request) -> Response:
        nonlocal written
        written = written or json.dumps(app.openapi()).encode()
        return Response(written, media_type="application/json")

    app.add_route("/openapi.json", show, include_in_schema=False)


def _document(app: FastAPI, about: str, models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    made = get_openapi(
        title="fakesweep",
        version=schema.__version__,
        description=about.strip(),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        routes=app.routes,
    )
    for model in models:
        shown = model.model_json_schema(ref_template=REFERENCE)
        made["components"]["schemas"] |= shown.pop("$defs", {})
        made["components"]["schemas"][model.__name__] = shown
    return made


def _problem(status: HTTPStatus) -> dict[str, Any]:
    code, description = _WHY[status]
    example = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "code": code.value,
        "detail": description[0].lower() + description[1:].partition(";")[0],
    }
    said: dict[str, Any] = {
        "description": description,
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": REFERENCE.format(model="ProblemDetails")},
                "example": example,
            }
        },
    }
    if status in _HEADERS:
        name, about, kind = _HEADERS[status]
        said["headers"] = {name: {"description": about, "required": True, "schema": kind}}
    return said
