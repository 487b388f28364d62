"""Authentication: the caller of a request, by its API token."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from fakesweep.schema.ledger.api_tokens import Caller
from fakesweep.schema.words import Scope
from fakesweep.serving.problems import Problem, ProblemCode

_REALM = 'Bearer realm="fakesweep"'

_BEARER = HTTPBearer(
    scheme_name="token",
    bearerFormat="fsw_…",
    description="`fakesweep token add NAME` makes one",
    auto_error=False,
)

_Given = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


def caller_with(scope: Scope) -> Callable[[Request, _Given], Awaitable[Caller]]:
    """Return a FastAPI dependency that admits valid tokens with a scope.

    Unknown, revoked and expired tokens get the same answer.
    """

    async def caller(request: Request, given: _Given) -> Caller:
        found: Caller | None = getattr(request.state, "found", None)
        if given is None:
            raise _refused(ProblemCode.TOKEN_NEEDED, "send a token, as Authorization: Bearer fsw_…")
        if found is None:
            raise _refused(
                ProblemCode.TOKEN_INVALID,
                "the token is not valid; ask for another",
                ', error="invalid_token"',
            )
        check_scope(found, scope)
        return found

    return caller


def check_scope(caller: Caller, scope: Scope) -> None:
    """Refuse a token that lacks a scope.

    Raises:
        Problem: the token lacks it.
    """
    if scope not in caller.scopes:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            ProblemCode.SCOPE_MISSING,
            f"the token lacks the scope {scope}",
            headers=_challenge(f', error="insufficient_scope", scope="{scope}"'),
        )


def _refused(code: ProblemCode, detail: str, said: str = "") -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, code, detail, headers=_challenge(said))


def _challenge(said: str) -> dict[str, str]:
    """Return the header `WWW-Authenticate` of RFC 6750."""
    return {"WWW-Authenticate": _REALM + said}
