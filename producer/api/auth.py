"""Who asks: bearer tokens, looked up in the ledger at every request."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from producer.api.problems import Problem, ProblemCode
from producer.api.resources import Opened
from schema.tokens import Caller, Scope, find_caller

_REALM = 'Bearer realm="fakesweep"'

_BEARER = HTTPBearer(
    scheme_name="token",
    bearerFormat="fsw_…",
    description="`fakesweep token add NAME` makes one",
    auto_error=False,
)

_Given = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


def caller_with(scope: Scope) -> Callable[[Request, Opened, _Given], Caller]:
    """Return what lets in whoever holds a valid token with a scope.

    An unknown, a revoked and an expired token are answered alike. A token is looked up each time,
    so that a revoked one is worthless from the next request on.
    """

    def caller(request: Request, opened: Opened, given: _Given) -> Caller:
        if given is None:
            raise _refused(ProblemCode.TOKEN_NEEDED, "send a token, as Authorization: Bearer fsw_…")
        with opened.producer.engine.begin() as connection:
            found = find_caller(connection, given.credentials)
        if found is None:
            raise _refused(
                ProblemCode.TOKEN_INVALID,
                "the token is not valid; ask for another",
                ', error="invalid_token"',
            )
        request.state.caller = found.name
        if scope not in found.scopes:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                ProblemCode.SCOPE_MISSING,
                f"the token lacks the scope {scope}",
                headers=_challenge(f', error="insufficient_scope", scope="{scope}"'),
            )
        return found

    return caller


def _refused(code: ProblemCode, detail: str, said: str = "") -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, code, detail, headers=_challenge(said))


def _challenge(said: str) -> dict[str, str]:
    """Return the header that RFC 6750 asks for."""
    return {"WWW-Authenticate": _REALM + said}
