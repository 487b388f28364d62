"""FastAPI app: routes, problems, middleware and the OpenAPI document."""

from http import HTTPStatus

from fastapi import APIRouter, FastAPI

from fakesweep.producer.api import images, scans
from fakesweep.producer.api.documents import ABOUT
from fakesweep.producer.api.models import Health, Submission
from fakesweep.producer.api.resources import Opened, Resources
from fakesweep.serving.middleware import EveryRequest
from fakesweep.serving.openapi import add_document, problems
from fakesweep.serving.problems import away, handle_problems

_health = APIRouter(prefix="/v1/health", tags=["health"])


def make_app(resources: Resources | None = None) -> FastAPI:
    """Return the app; without resources it can only show its OpenAPI document.

    It has no interactive pages, which would load foreign scripts, and no CORS.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.resources = resources
    app.state.engine = resources and resources.producer.engine
    for router in (images.router, scans.router, _health):
        app.include_router(router)
    handle_problems(app)
    add_document(app, ABOUT, (Submission,))
    app.add_middleware(EveryRequest)
    return app


@_health.get(
    "",
    operation_id="get_health",
    summary="Ask whether all is well",
    response_description="The ledger and the broker answer",
    responses=problems(
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def get_health(opened: Opened) -> Health:
    """Say whether the ledger and the broker answer; needs no token."""
    missed = await opened.health.missed()
    if missed:
        verb = "do" if len(missed) > 1 else "does"
        raise away(f"the {' and the '.join(missed)} {verb} not answer")
    return Health()
