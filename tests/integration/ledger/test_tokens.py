"""API tokens in the ledger: digests, holders and expiry."""

import hashlib
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from fakesweep.schema.errors import TokenError
from fakesweep.schema.ledger.api_tokens import (
    PREFIX,
    Caller,
    TokenReport,
    add_token,
    find_caller,
    list_tokens,
    revoke_token,
)
from fakesweep.schema.words import Scope
from tests.integration.ledger.rows import rows, run, value


def add(
    engine: Engine,
    name: str = "gallery",
    scopes: Collection[Scope] = (Scope.SUBMIT, Scope.READ),
    rate: int = 600,
    lifetime: timedelta | None = None,
) -> str:
    with engine.begin() as connection:
        return add_token(connection, name, scopes, rate, lifetime)


def caller_of(engine: Engine, token: str) -> Caller | None:
    with engine.begin() as connection:
        return find_caller(connection, token)


def revoke(engine: Engine, name: str = "gallery") -> None:
    with engine.begin() as connection:
        revoke_token(connection, name)


def listed(engine: Engine) -> list[TokenReport]:
    with engine.connect() as connection:
        return list_tokens(connection)


def test_a_token_says_whose_it_is_what_it_is_for_and_how_fast(engine: Engine) -> None:
    token = add(engine, "gallery", [Scope.SUBMIT], rate=60)
    found = caller_of(engine, token)
    assert found == Caller(1, "gallery", frozenset({Scope.SUBMIT}), 60)


def test_a_token_is_long_random_and_known_by_sight(engine: Engine) -> None:
    tokens = {add(engine, name) for name in "abc"}
    assert len(tokens) == 3
    for token in tokens:
        assert token.startswith(PREFIX)
        assert len(token) == len(PREFIX) + 43  # 256 bits in Base64


def test_only_the_digest_of_a_token_is_kept(engine: Engine) -> None:
    token = add(engine)
    [row] = rows(engine, "SELECT * FROM ledger.api_tokens")
    assert bytes(row["sha256"]) == hashlib.sha256(token.encode()).digest()
    whole = value(engine, "SELECT t::text FROM ledger.api_tokens t")
    assert token not in whole
    assert token.removeprefix(PREFIX) not in whole


@pytest.mark.parametrize(
    "other", [lambda t: t[:-1], lambda t: t + "A", lambda t: t.lower(), lambda _: "", str.upper]
)
def test_a_malformed_token_is_refused(engine: Engine, other: "type[str]") -> None:
    token = add(engine)
    assert caller_of(engine, other(token)) is None
    assert caller_of(engine, PREFIX + "A" * 43) is None


def test_a_revoked_token_lets_nobody_in_and_its_name_is_free(engine: Engine) -> None:
    first = add(engine)
    revoke(engine)
    assert caller_of(engine, first) is None
    second = add(engine)
    assert caller_of(engine, second) is not None
    assert caller_of(engine, first) is None
    assert [one.state for one in listed(engine)] == ["revoked", "valid"]


def test_a_token_is_revoked_once(engine: Engine) -> None:
    add(engine)
    revoke(engine)
    before = value(engine, "SELECT revoked_at FROM ledger.api_tokens")
    with pytest.raises(TokenError, match=r"there is no token 'gallery' to revoke; .*token list"):
        revoke(engine)
    assert value(engine, "SELECT revoked_at FROM ledger.api_tokens") == before


def test_a_token_expires_by_the_clock_of_the_database(engine: Engine) -> None:
    token = add(engine, lifetime=timedelta(days=90))
    lifetime = value(engine, "SELECT expires_at - created_at FROM ledger.api_tokens")
    assert lifetime == timedelta(days=90)
    assert caller_of(engine, token) is not None
    run(engine, "UPDATE ledger.api_tokens SET expires_at = now()")
    assert caller_of(engine, token) is None
    assert [one.state for one in listed(engine)] == ["expired"]


def test_two_valid_tokens_do_not_share_a_name(engine: Engine) -> None:
    add(engine)
    with pytest.raises(TokenError, match="there is a token 'gallery' already; revoke it first"):
        add(engine)
    assert len(listed(engine)) == 1


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "\x1b[2J", "x" * 101, " front", "back "])
def test_a_name_can_be_read_and_typed(engine: Engine, name: str) -> None:
    with pytest.raises(TokenError, match="cannot name a token"):
        add(engine, name)


def test_its_last_use_is_noted_once_a_minute(engine: Engine) -> None:
    token = add(engine)
    assert listed(engine)[0].last_used_at is None
    caller_of(engine, token)
    first = listed(engine)[0].last_used_at
    assert first is not None
    caller_of(engine, token)
    assert listed(engine)[0].last_used_at == first
    run(engine, "UPDATE ledger.api_tokens SET last_used_at = now() - interval '61 seconds'")
    caller_of(engine, token)
    assert listed(engine)[0].last_used_at > first  # type: ignore[operator]


def test_nobody_waits_for_another_to_note_the_use(engine: Engine) -> None:
    token = add(engine)
    with ThreadPoolExecutor(1) as threads, engine.begin() as connection:
        assert find_caller(connection, token) is not None
        assert threads.submit(caller_of, engine, token).result(timeout=10) is not None


@pytest.mark.parametrize("scopes", ["{}", "{submit,drop}"])
def test_the_database_knows_the_scopes(engine: Engine, scopes: str) -> None:
    with pytest.raises(DBAPIError, match="scopes_are_known"):
        run(
            engine,
            "INSERT INTO ledger.api_tokens (name, sha256, scopes, rate_per_minute) "
            f"VALUES ('x', sha256('x'), '{scopes}', 1)",
        )
    run(
        engine,
        "INSERT INTO ledger.api_tokens (name, sha256, scopes, rate_per_minute) "
        "VALUES ('x', sha256('x'), :scopes, 1)",
        scopes=[scope.value for scope in Scope],
    )


def refusal(engine: Engine, role: str, statement: str) -> str | None:
    """Return PostgreSQL's error code for a statement of a role, None where it may run."""
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
        try:
            connection.exec_driver_sql(statement)
        except DBAPIError as error:
            return str(getattr(error.orig, "pgcode", None))
        return None


def test_the_api_can_look_tokens_up_and_make_none(engine: Engine) -> None:
    token, role = add(engine), "fakesweep_api"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
        assert find_caller(connection, token) is not None
    assert listed(engine)[0].last_used_at is not None
    for statement in (
        "INSERT INTO ledger.api_tokens (name) VALUES ('mine')",
        "UPDATE ledger.api_tokens SET revoked_at = NULL",
        "UPDATE ledger.api_tokens SET scopes = '{read,submit}'",
        "UPDATE ledger.api_tokens SET sha256 = sha256('mine')",
        "DELETE FROM ledger.api_tokens",
    ):
        assert refusal(engine, role, statement) == "42501", statement


@pytest.mark.parametrize("role", ["fakesweep_analyst", "fakesweep_worker", "fakesweep_producer"])
def test_nobody_else_sees_them(engine: Engine, role: str) -> None:
    for column in ("name", "sha256", "last_used_at"):
        assert refusal(engine, role, f"SELECT {column} FROM ledger.api_tokens") == "42501"
