import os
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event, make_url
from sqlalchemy.exc import ProgrammingError

from fakesweep.schema.errors import DatabaseError
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.logins import set_login
from fakesweep.schema.words import LoginRole
from tests.acceptance.command import Command, refusal
from tests.integration.ledger.rows import run, value

NAME = "fakesweep_test_login"
PASSWORD = "hush-%s-'quoted\"-\\-ä"


@pytest.fixture(autouse=True)
def _nobody(engine: Engine) -> Iterator[None]:
    run(engine, f"DROP USER IF EXISTS {NAME}")
    yield
    run(engine, f"DROP USER IF EXISTS {NAME}")


def login(engine: Engine, role: LoginRole, password: str = PASSWORD, name: str = NAME) -> bool:
    with engine.begin() as connection:
        return set_login(connection, role, name, password)


@pytest.mark.parametrize("role", LoginRole)
def test_a_login_is_a_plain_member_of_its_role_alone(engine: Engine, role: LoginRole) -> None:
    assert login(engine, role)
    assert not login(engine, role), "a second time it is there"
    member = f"SELECT pg_has_role('{NAME}', 'fakesweep_{role}', 'MEMBER')"
    assert value(engine, member)
    roles = f"SELECT count(*) FROM pg_auth_members WHERE member = '{NAME}'::regrole"
    assert value(engine, roles) == 1
    limits = f"SELECT rolconfig::text FROM pg_roles WHERE rolname = '{NAME}'"
    assert ("statement_timeout" in (value(engine, limits) or "")) is (role is LoginRole.ANALYST)


def test_an_analyst_takes_no_session_from_others_and_cannot_lift_that(
    engine: Engine, database_url: str
) -> None:
    login(engine, LoginRole.ANALYST)
    limit = f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{NAME}'"
    assert value(engine, limit) == 20
    url = make_url(database_url).set(username=NAME).render_as_string(hide_password=False)
    analyst = open_engine(url, "tests")
    try:
        assert value(analyst, "SHOW idle_in_transaction_session_timeout") == "5min"
        with pytest.raises(ProgrammingError, match="permission denied"):
            run(analyst, f"SET TRANSACTION READ WRITE; ALTER USER {NAME} CONNECTION LIMIT -1")
    finally:
        analyst.dispose()
    login(engine, LoginRole.ANALYST)
    assert value(engine, limit) == 20


def test_the_server_is_told_a_verifier_and_never_the_password(engine: Engine) -> None:
    told: list[str] = []

    def listen(*said: object) -> None:
        told.append(repr(said[2:4]))

    event.listen(engine, "before_cursor_execute", listen)
    login(engine, LoginRole.WORKER, "first")
    login(engine, LoginRole.WORKER)
    event.remove(engine, "before_cursor_execute", listen)
    assert len(told) > 3
    assert not [one for one in told if "hush" in one or "first" in one]
    kept = value(engine, f"SELECT rolpassword FROM pg_authid WHERE rolname = '{NAME}'")
    assert str(kept).startswith("SCRAM-SHA-256$")


@pytest.mark.parametrize(
    "made",
    [
        f"CREATE USER {NAME}",
        f"CREATE USER {NAME} SUPERUSER IN ROLE fakesweep_worker",
        f"CREATE USER {NAME} CREATEROLE IN ROLE fakesweep_worker",
        f"CREATE ROLE {NAME} NOLOGIN IN ROLE fakesweep_worker",
        f"CREATE USER {NAME} IN ROLE fakesweep_producer",
        f"CREATE USER {NAME} IN ROLE fakesweep_worker, fakesweep_producer",
    ],
)
def test_a_user_who_is_something_else_is_left_alone(engine: Engine, made: str) -> None:
    run(engine, made)
    with pytest.raises(DatabaseError, match="not a member of fakesweep_worker alone"):
        login(engine, LoginRole.WORKER)
    assert value(engine, f"SELECT rolpassword FROM pg_authid WHERE rolname = '{NAME}'") is None


@pytest.mark.parametrize("name", ["", "Anna", 'a"; DROP', "1a", "pg_mine", "a" * 64, "ä", "a-b"])
def test_an_invalid_login_name_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(DatabaseError, match="cannot name a login"):
        login(engine, LoginRole.WORKER, name=name)


def test_a_login_without_a_password_is_refused(database_url: str) -> None:
    command = Command({"DATABASE_URL": database_url})
    assert refusal(command("db", "login", "worker", "--name", NAME)) == (
        "fakesweep: WORKER_PASSWORD holds no password for the login worker; set it"
    )


def test_a_missing_right_to_create_users_is_one_line(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    login(engine, LoginRole.PRODUCER)
    url = make_url(database_url).set(username=NAME).render_as_string(hide_password=False)
    monkeypatch.setitem(os.environ, "WORKER_PASSWORD", "hush")
    said = refusal(Command({"DATABASE_URL": url})("db", "login", "worker", "--name", "other"))
    assert "permission denied to create role" in said
    assert "hush" not in said
