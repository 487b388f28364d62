"""Middleware around every request: caller, request slot, log line and error response."""

import re
import time

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fakesweep.schema.ledger.api_tokens import PREFIX
from fakesweep.serving.connections import group_of
from fakesweep.serving.problems import Problem, failed, ledger_problem
from fakesweep.serving.protocol import GuardedProtocol
from fakesweep.serving.request_slots import RequestSlots
from fakesweep.serving.token_lookup import Lookup, token_in

LONGEST_PATH = 200
OPEN_PATHS = frozenset({"/openapi.json", "/v1/health"})
"""Paths that need no token; none is looked up for them."""

_TOKEN = re.compile(rf"{PREFIX}[\w-]+")
_ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

log = structlog.get_logger(__name__)


class EveryRequest:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._places = RequestSlots()
        self._lookup = Lookup()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        connection: GuardedProtocol | None = scope.setdefault("state", {}).get("connection")

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(_ALWAYS)
                if connection and (connection.is_stranger or not connection.is_request_whole):
                    headers["Connection"] = "close"
            await send(message)

        try:
            await self._answer(scope, receive, send_noted)
        except Problem as problem:
            await problem.answer()(scope, receive, send_noted)
        except ClientDisconnect:
            log.info("client_left", **_facts(scope, began))
        except Exception:
            log.exception("request_failed", **_facts(scope, began))
            if status:
                raise
            await failed().answer()(scope, receive, send_noted)
        if status:
            log.info("request_answered", status=status, **_facts(scope, began))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app in a request slot of the token, or of a stranger.

        Raises:
            Problem: no slot is free, or the token cannot be looked up.
        """
        token = token_in(Headers(scope=scope))
        if token is not None and scope["path"] not in OPEN_PATHS:
            async with self._places.of_token(self._lookup.digest(token)) as place:
                try:
                    caller = await self._lookup.caller(scope["app"].state.engine, token)
                except SQLAlchemyError as error:
                    raise ledger_problem(error) from error
                if caller is not None:
                    place.prove()
                    scope["state"] |= {"caller": caller.name, "found": caller, "place": place}
                    if connection := scope["state"].get("connection"):
                        connection.prove()
                    await self._app(scope, receive, send)
                    return
        with self._places.of_stranger(group_of((scope.get("client") or [""])[0])):
            await self._app(scope, receive, send)


def _facts(scope: Scope, began: float) -> dict[str, object]:
    """Return the log facts of a request, without its query and token."""
    client = scope.get("client")
    return {
        "method": scope["method"],
        "path": _TOKEN.sub(f"{PREFIX}***", scope["path"])[:LONGEST_PATH],
        "milliseconds": round(1_000 * (time.perf_counter() - began), 1),
        "caller": scope["state"].get("caller"),
        "client": client and client[0],
    }
