"""Fixtures every test may ask for: one real server each a session, a fresh database a test."""

import gc
import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog
from sqlalchemy import Engine, make_url, text

from fakesweep.producer import backoff
from fakesweep.schema.ledger import connection as schema_database
from fakesweep.schema.migrations import upgrade
from tests.support.servers import (
    CLUSTER_BROKER_DATABASE,
    S3Server,
    broker_server,
    postgres_server,
    s3_server,
)

SHARED = Path(__file__).resolve().parents[2] / "shared"
_numbers = itertools.count(1)

gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage from here on, and leave what was imported out of it for good."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person's own reaches a test."""
    for name in list(os.environ):
        if name.startswith(("FAKESWEEP_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.fixture(autouse=True)
def _own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test sets up of logging ends with it; loggers keep nothing of it for the next."""
    configure, root = structlog.configure, logging.getLogger()

    def configured(**how: Any) -> None:
        configure(**(how | {"cache_logger_on_first_use": False}))

    monkeypatch.setattr(structlog, "configure", configured)
    before, level = [one for one in root.handlers if not _is_pytests(one)], root.level
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        root.handlers = before + [one for one in root.handlers if _is_pytests(one)]
        root.setLevel(level)


def _is_pytests(handler: logging.Handler) -> bool:
    return type(handler).__module__.startswith("_pytest.")


@pytest.fixture(autouse=True)
def _no_outage_from_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test before waited for hides nothing that this one waits for."""
    monkeypatch.setattr(backoff, "_outages", backoff.Outages())


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server, with a migrated template database to copy."""
    with postgres_server() as url:
        _execute(url, "CREATE DATABASE fakesweep_test_template")
        engine = schema_database.open_engine(_named(url, "fakesweep_test_template"), "tests")
        with engine.begin() as connection:
            upgrade(connection)
        engine.dispose()
        yield url


@pytest.fixture
def empty_database_url(postgres: str) -> str:
    """A new database without a single table."""
    name = f"fakesweep_test_{next(_numbers)}"
    _execute(postgres, f"CREATE DATABASE {name}")
    return _named(postgres, name)


@pytest.fixture
def database_url(postgres: str) -> str:
    """A new database at this code's migration."""
    name = f"fakesweep_test_{next(_numbers)}"
    _execute(
        postgres, f"CREATE DATABASE {name} TEMPLATE fakesweep_test_template STRATEGY FILE_COPY"
    )
    return _named(postgres, name)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a new database at this code's migration."""
    engine = schema_database.open_engine(database_url, "tests", pool_size=4)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def _broker() -> Iterator[str]:
    with broker_server() as url:
        yield url


@pytest.fixture
def broker_url(_broker: str) -> str:
    """A Redis-protocol database that no other test uses now, and that holds nothing."""
    base, _, _ = _broker.rpartition("/")
    url = f"{base}/{next(_numbers) % CLUSTER_BROKER_DATABASE}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(scope="session")
def _s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(_s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A real S3 server; credentials and endpoint are in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testtest")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", _s3_server.endpoint_url)
    monkeypatch.setenv("FAKESWEEP_S3_ADDRESSING_STYLE", "path")
    return _s3_server


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of models and images beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared/ is not beside the repository")
    return SHARED


def _execute(url: str, statement: str) -> None:
    engine = schema_database.open_engine(url, "tests")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(statement))
    engine.dispose()


def _named(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)
