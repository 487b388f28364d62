from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, make_url, text

from fakesweep.schema import migrations
from fakesweep.schema.errors import DatabaseError, MigrationError
from fakesweep.schema.ledger.connection import explained, open_engine
from fakesweep.schema.migrations import (
    HEAD,
    alembic_config,
    check_migration,
    current_migration,
    upgrade,
)
from tests.acceptance.command import Command
from tests.integration.ledger.rows import run, tuples, value
from tests.support.servers import postgres_server, wait_until

ROLES = ["fakesweep_analyst", "fakesweep_api", "fakesweep_producer", "fakesweep_worker"]
GRANTED = """
    SELECT relacl::text FROM pg_class UNION ALL SELECT attacl::text FROM pg_attribute
    UNION ALL SELECT proacl::text FROM pg_proc UNION ALL SELECT nspacl::text FROM pg_namespace
    UNION ALL SELECT datacl::text FROM pg_database WHERE datname = current_database()
"""


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Engine]:
    engine = open_engine(empty_database_url, "tests", pool_size=4)
    yield engine
    engine.dispose()


@pytest.fixture
def bare_server() -> Iterator[str]:
    """A separate server that fakesweep has never used."""
    with postgres_server() as url:
        yield url


def _made(server: str, name: str, owner: str = "postgres") -> Engine:
    engine = open_engine(server, "tests", pool_size=1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} OWNER {owner}")
    engine.dispose()
    url = make_url(server).set(database=name, username=owner)
    return open_engine(url.render_as_string(hide_password=False), "tests", pool_size=4)


def _roles(engine: Engine) -> list[str]:
    named = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'fakesweep%' ORDER BY rolname"
    return [name for (name,) in tuples(engine, named)]


def _granted(engine: Engine) -> int:
    """Return the number of tables, columns and functions with grants to one of the roles."""
    named = f"SELECT count(*) FROM ({GRANTED}) AS granted (acl) WHERE acl LIKE '%fakesweep_%'"
    return int(value(engine, named))


def _check(engine: Engine) -> None:
    with engine.connect() as connection:
        check_migration(connection)


def test_what_this_code_says_of_its_migrations_is_what_alembic_finds(empty: Engine) -> None:
    with empty.connect() as connection:
        scripts = ScriptDirectory.from_config(alembic_config(connection))
    assert scripts.get_current_head() == HEAD
    assert {script.revision for script in scripts.walk_revisions()} == migrations._KNOWN


def test_an_empty_database_is_refused_until_it_is_upgraded(empty: Engine) -> None:
    with pytest.raises(MigrationError, match=r"database is empty, .* run `fakesweep db upgrade`"):
        _check(empty)
    with empty.begin() as connection:
        upgrade(connection)
        assert current_migration(connection) == HEAD
    _check(empty)
    assert value(empty, "SELECT count(*) FROM scan_progress") == 0


def test_upgrading_again_changes_nothing(empty: Engine) -> None:
    shape = (
        "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema IN ('public', 'ledger') ORDER BY 1, 2, 3"
    )
    with empty.begin() as connection:
        upgrade(connection)
    before = tuples(empty, shape)
    assert before
    with empty.begin() as connection:
        upgrade(connection)
        assert current_migration(connection) == HEAD
    assert tuples(empty, shape) == before


def test_processes_that_upgrade_at_once_wait_for_one_another(empty: Engine) -> None:
    def one(_: int) -> str | None:
        with empty.begin() as connection:
            upgrade(connection)
            return current_migration(connection)

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(one, range(3))) == [HEAD] * 3


def test_an_upgrade_that_is_not_committed_leaves_nothing(empty: Engine) -> None:
    with empty.connect() as connection:
        upgrade(connection)
        connection.rollback()
    assert value(empty, "SELECT count(*) FROM pg_namespace WHERE nspname = 'ledger'") == 0


def test_a_downgrade_leaves_an_empty_database(empty: Engine) -> None:
    with empty.begin() as connection:
        upgrade(connection)
    with empty.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    left = (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace UNION ALL "
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace UNION ALL "
        "SELECT nspname FROM pg_namespace WHERE nspname = 'ledger'"
    )
    assert {name for (name,) in tuples(empty, left)} <= {
        "alembic_version",
        "alembic_version_pkc",
    }
    with empty.begin() as connection:
        upgrade(connection)
        assert current_migration(connection) == HEAD


def test_a_downgrade_takes_the_roles_rights_back_here_and_leaves_them_to_other_databases(
    empty: Engine, engine: Engine
) -> None:
    with empty.begin() as connection:
        upgrade(connection)
    before = _granted(empty)
    assert before > 20
    with empty.begin() as connection:
        command.downgrade(alembic_config(connection), "0003")
    assert _granted(empty) == 0
    assert _roles(empty) == ROLES
    assert value(engine, "SELECT has_table_privilege('fakesweep_analyst', 'verdicts', 'SELECT')")
    with empty.begin() as connection:
        upgrade(connection)
    assert _granted(empty) == before


def test_databases_of_one_server_that_upgrade_at_once_make_the_roles_together(
    bare_server: str,
) -> None:
    first, second = (_made(bare_server, f"fakesweep_test_{number}") for number in range(2))
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with first.connect() as connection:
        upgrade(connection)
        url = second.url.render_as_string(hide_password=False)
        meanwhile = Command({"DATABASE_URL": url}).start("db", "upgrade")
        wait_until(lambda: value(first, waits) == 1, "the second upgrade waits for the first")
        connection.commit()
    _, complaints = meanwhile.communicate()
    assert complaints == ""
    assert _roles(first) == ROLES
    assert _granted(first) == _granted(second) > 20
    first.dispose()
    second.dispose()


def test_a_user_who_may_not_make_roles_can_upgrade_and_grant_when_they_are_there(
    bare_server: str,
) -> None:
    server = open_engine(bare_server, "tests")
    run(server, "CREATE USER migrator")
    owned = _made(bare_server, "fakesweep_test_owned", "migrator")
    with owned.begin() as connection:
        upgrade(connection)
        assert current_migration(connection) == HEAD
    assert (_roles(owned), _granted(owned)) == ([], 0)
    run(server, "CREATE ROLE fakesweep_worker")
    with owned.begin() as connection:
        missing = connection.execute(text("SELECT ledger.grant_roles()")).scalar_one()
    assert missing == ["fakesweep_analyst", "fakesweep_api", "fakesweep_producer"]
    assert value(owned, "SELECT has_table_privilege('fakesweep_worker', 'ledger.scans', 'SELECT')")
    server.dispose()
    owned.dispose()


def test_workers_of_a_database_made_before_they_told_their_stages_stay(empty: Engine) -> None:
    with empty.begin() as connection:
        command.upgrade(alembic_config(connection), "0001")
        connection.execute(
            text("""INSERT INTO ledger.workers (worker_id, hostname, pid, device, version)
                    VALUES (gen_random_uuid(), 'h', 7, 'cpu', '0.1')""")
        )
    with pytest.raises(MigrationError, match=r"at migration 0001, .* run `fakesweep db upgrade`"):
        _check(empty)
    with empty.begin() as connection:
        upgrade(connection)
    _check(empty)
    assert tuples(empty, "SELECT hostname, wall, bottleneck FROM workers") == [("h", None, None)]


def test_a_database_ahead_of_this_code_is_refused_and_left_alone(empty: Engine) -> None:
    with empty.begin() as connection:
        upgrade(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(MigrationError, match=r"migration 9999, which this fakesweep .* newer one"):
        _check(empty)
    with empty.begin() as connection:
        with pytest.raises(MigrationError, match="9999"):
            upgrade(connection)
        assert current_migration(connection) == "9999"


def test_a_database_that_does_not_exist_is_one_line(postgres: str) -> None:
    url = make_url(postgres).set(database="fakesweep_test_nowhere", password="hunter2")
    written = url.render_as_string(hide_password=False)
    engine = open_engine(written, "tests")
    with pytest.raises(DatabaseError) as refusal, explained(written):
        _check(engine)
    message = str(refusal.value)
    assert '"fakesweep_test_nowhere" does not exist' in message
    assert "hunter2" not in message
    assert "\n" not in message


def test_a_refusal_of_the_server_is_one_line(empty: Engine, empty_database_url: str) -> None:
    with pytest.raises(DatabaseError) as refusal, explained(empty_database_url):
        value(empty, "SELECT *\nFROM nowhere")
    assert str(refusal.value) == 'PostgreSQL refused: relation "nowhere" does not exist'


def test_a_query_that_takes_too_long_is_not_a_server_that_does_not_answer(
    empty: Engine, empty_database_url: str
) -> None:
    with pytest.raises(DatabaseError) as refusal, explained(empty_database_url):
        value(empty, "SET statement_timeout = 1; SELECT pg_sleep(60)")
    assert str(refusal.value).startswith("PostgreSQL refused: canceling statement")


def test_a_server_that_goes_away_does_not_answer(empty: Engine, empty_database_url: str) -> None:
    with pytest.raises(DatabaseError) as refusal, explained(empty_database_url):
        value(empty, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert "does not answer: " in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_connection_speaks_unicode_and_names_who_it_is(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    engine = open_engine(empty_database_url, "worker")
    assert value(engine, "SHOW client_encoding") == "UTF8"
    assert value(engine, "SHOW application_name") == "fakesweep worker"
    engine.dispose()
