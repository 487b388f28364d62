"""API tokens: holder, scopes and rate of each."""

import hashlib
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from fakesweep.schema.errors import TokenError
from fakesweep.schema.words import Scope

PREFIX = "fsw_"
"""Prefix of every token, by which people and secret scanners recognise one."""

MOST_NAME_CHARACTERS = 100

_RANDOM_BYTES = 32
_TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")

_ADD = text("""
    INSERT INTO ledger.api_tokens (name, sha256, scopes, rate_per_minute, expires_at)
    VALUES (:name, :sha256, :scopes, :rate_per_minute, now() + :lifetime)
    ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING
    RETURNING token_id
""")

_LIST = text("""
    SELECT name, scopes, rate_per_minute, created_at, expires_at, revoked_at, last_used_at,
           CASE WHEN revoked_at IS NOT NULL THEN 'revoked'
                WHEN expires_at <= now() THEN 'expired'
                ELSE 'valid' END AS state
    FROM ledger.api_tokens ORDER BY token_id
""")

_REVOKE = text("""
    UPDATE ledger.api_tokens SET revoked_at = now() WHERE name = :name AND revoked_at IS NULL
""")

_MAY_LOOK_UP = text("""
    SELECT has_table_privilege('ledger.api_tokens', 'SELECT')
       AND has_column_privilege('ledger.api_tokens', 'last_used_at', 'UPDATE')
""")

_FIND = text("""
    SELECT token_id, name, scopes, rate_per_minute,
           coalesce(last_used_at < now() - interval '1 minute', true) AS is_use_news
    FROM ledger.api_tokens
    WHERE sha256 = :sha256 AND revoked_at IS NULL AND coalesce(expires_at > now(), true)
""")

# Of many concurrent requests one updates the row; none waits for another.
_SAY_USED = text("""
    UPDATE ledger.api_tokens SET last_used_at = now()
    WHERE token_id = (
        SELECT token_id FROM ledger.api_tokens
        WHERE token_id = :token_id
          AND coalesce(last_used_at < now() - interval '1 minute', true)
        FOR NO KEY UPDATE SKIP LOCKED
    )
""")


@dataclass(frozen=True, slots=True)
class TokenReport:
    """A token as people see it, without its secret or digest."""

    name: str
    state: str
    scopes: tuple[str, ...]
    rate_per_minute: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid API token; `rate_per_minute` counts uploaded images."""

    token_id: int
    name: str
    scopes: frozenset[Scope]
    rate_per_minute: int


def add_token(
    connection: Connection,
    name: str,
    scopes: Collection[Scope],
    rate_per_minute: int,
    lifetime: timedelta | None,
) -> str:
    """Record a new token and return it; the ledger keeps only its digest.

    Raises:
        TokenError: the name is invalid, or an unrevoked token has it.
    """
    if not (0 < len(name) <= MOST_NAME_CHARACTERS and name.isprintable() and name.strip() == name):
        raise TokenError(
            f"{name!r} cannot name a token; write 1 to {MOST_NAME_CHARACTERS} printable "
            f"characters, no space at either end"
        )
    token = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    new = {
        "name": name,
        "sha256": _digest(token),
        "scopes": sorted(scope.value for scope in scopes),
        "rate_per_minute": rate_per_minute,
        "lifetime": lifetime,
    }
    if connection.execute(_ADD, new).scalar_one_or_none() is None:
        raise TokenError(
            f"there is a token {name!r} already; revoke it first, or give this one another name"
        )
    return token


def list_tokens(connection: Connection) -> list[TokenReport]:
    """Return every token, revoked ones too, oldest first."""
    return [
        TokenReport(**{**row, "scopes": tuple(row["scopes"])})
        for row in connection.execute(_LIST).mappings()
    ]


def revoke_token(connection: Connection, name: str) -> None:
    """Revoke a token; the next request with it is refused.

    Raises:
        TokenError: no unrevoked token has that name.
    """
    if connection.execute(_REVOKE, {"name": name}).rowcount == 0:
        raise TokenError(
            f"there is no token {name!r} to revoke; `fakesweep token list` lists those there are"
        )


def may_look_up(connection: Connection) -> bool:
    """Return whether this database user may look tokens up, as the API must."""
    return bool(connection.execute(_MAY_LOOK_UP).scalar_one())


def is_well_formed(token: str) -> bool:
    """Return whether a text has the form of a token."""
    return _TOKEN.fullmatch(token) is not None


def find_caller(connection: Connection, token: str) -> Caller | None:
    """Return the token's holder, None where it is unknown, revoked or expired.

    Records its use, at most once a minute.
    """
    if not is_well_formed(token):
        return None
    row = connection.execute(_FIND, {"sha256": _digest(token)}).one_or_none()
    if row is None:
        return None
    if row.is_use_news:
        connection.execute(_SAY_USED, {"token_id": row.token_id})
    return Caller(row.token_id, row.name, frozenset(map(Scope, row.scopes)), row.rate_per_minute)


def _digest(token: str) -> bytes:
    """Return the SHA-256 of a token, which is random enough to need no salt or stretching."""
    return hashlib.sha256(token.encode()).digest()
