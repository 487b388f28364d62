"""What surrounds every request: a line in the log, a bound on how many there are, no traceback."""

import re
import time

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.api.problems import Problem, ProblemCode, away, failed
from schema.tokens import PREFIX

MOST_AT_ONCE = 256
"""Each may hold a body of 1 MiB."""

LONGEST_PATH = 200

_TOKEN = re.compile(rf"{PREFIX}[\w-]+")
_ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

log = structlog.get_logger(__name__)


class EveryRequest:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        scope.setdefault("state", {})

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(_ALWAYS)
            await send(message)

        self._under_way += 1
        try:
            await self._answer(scope, receive, send_noted)
        except ClientDisconnect:
            log.info("client_left", **_facts(scope, began))
        except Exception:
            log.exception("request_failed", **_facts(scope, began))
            if status:
                raise
            await _end(failed(), scope, receive, send_noted)
        finally:
            self._under_way -= 1
        if status:
            log.info("request_answered", status=status, **_facts(scope, began))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._under_way > MOST_AT_ONCE:
            said = "too much is asked at once; ask again later"
            await _end(away(said, code=ProblemCode.OVERLOADED), scope, receive, send)
            return
        await self._app(scope, receive, send)


async def _end(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    await problem.answer()(scope, receive, send)


def _facts(scope: Scope, began: float) -> dict[str, object]:
    """Return what the log says of a request: neither its query nor a token."""
    client = scope.get("client")
    return {
        "method": scope["method"],
        "path": _TOKEN.sub(f"{PREFIX}***", scope["path"])[:LONGEST_PATH],
        "milliseconds": round(1_000 * (time.perf_counter() - began), 1),
        "caller": scope["state"].get("caller"),
        "client": client and client[0],
    }
