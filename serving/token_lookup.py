"""Token look-up in the ledger, where invalid tokens do not delay valid ones."""

import hashlib
from collections import OrderedDict

import anyio
from anyio.to_thread import run_sync
from fastapi.security.utils import get_authorization_scheme_param
from sqlalchemy import Engine
from starlette.datastructures import Headers

from fakesweep.schema.ledger.api_tokens import Caller, find_caller, is_well_formed

THREADS_FOR_UNKNOWN = 4
MOST_REMEMBERED = 10_000


def token_in(headers: Headers) -> str | None:
    """Return the token of the header Authorization, if any."""
    scheme, given = get_authorization_scheme_param(headers.get("authorization"))
    return given if scheme.lower() == "bearer" and is_well_formed(given) else None


class Lookup:
    """Looks up the token of every request, so a revocation takes effect at once.

    Tokens that were valid before go first; the others have a few threads of their own.
    """

    def __init__(self) -> None:
        self._were_valid: OrderedDict[bytes, None] = OrderedDict()
        self._unknown = anyio.CapacityLimiter(THREADS_FOR_UNKNOWN)

    @staticmethod
    def digest(token: str) -> bytes:
        """Return the digest by which a token is cached."""
        return hashlib.sha256(token.encode()).digest()

    async def caller(self, engine: Engine, token: str) -> Caller | None:
        """Return the token's holder, None where it is unknown, revoked or expired.

        Raises:
            SQLAlchemyError: the ledger does not answer, or refuses.
        """
        digest = self.digest(token)

        def look() -> Caller | None:
            with engine.begin() as connection:
                return find_caller(connection, token)

        limiter = None if digest in self._were_valid else self._unknown
        found = await run_sync(look, limiter=limiter)
        self._were_valid.pop(digest, None)
        if found is not None:
            self._were_valid[digest] = None
            if len(self._were_valid) > MOST_REMEMBERED:
                self._were_valid.popitem(last=False)
        return found
