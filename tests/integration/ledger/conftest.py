"""One database for all these tests, emptied before each; that takes a tenth of creating one."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, make_url, text

from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.webhooks.deliveries import Delivery
from fakesweep.schema.migrations import upgrade
from tests.integration.ledger.deliveries import FAKE, add, scan_scores, take_all
from tests.integration.ledger.rows import add_model

_TABLES = text("""
    SELECT string_agg(format('ledger.%I', relname), ', ') FROM pg_class
    WHERE relnamespace = 'ledger'::regnamespace AND relkind = 'r' AND relname <> 'policies'
""")


@pytest.fixture(scope="session")
def _ledger_url(postgres: str) -> str:
    name = "fakesweep_test_ledger"
    server = open_engine(postgres, "tests")
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    server.dispose()
    url = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    migrated = open_engine(url, "tests")
    with migrated.begin() as connection:
        upgrade(connection)
    migrated.dispose()
    return url


@pytest.fixture
def database_url(_ledger_url: str) -> str:
    """The database of these tests, with the built-in policies only."""
    engine = open_engine(_ledger_url, "tests")
    with engine.begin() as connection:
        tables = connection.execute(_TABLES).scalar_one()
        connection.exec_driver_sql(f"TRUNCATE {tables} RESTART IDENTITY")
        connection.exec_driver_sql("DELETE FROM ledger.policies WHERE policy_id > 2")
    engine.dispose()
    return _ledger_url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on the emptied database."""
    engine = open_engine(database_url, "tests", pool_size=8)
    yield engine
    engine.dispose()


@pytest.fixture
def model(engine: Engine) -> int:
    """The row of a model."""
    return add_model(engine)


@pytest.fixture
def due(engine: Engine, model: int) -> Delivery:
    """A leased delivery to a webhook."""
    add(engine, verdicts=[FAKE])
    scan_scores(engine, model)
    [taken] = take_all(engine)
    return taken
