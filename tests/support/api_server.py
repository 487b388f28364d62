"""A real `fakesweep api` process, its log, and its tokens."""

import itertools
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import redis
from sqlalchemy import Engine, make_url

from fakesweep.schema.ledger.api_tokens import add_token
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.words import Scope
from tests.support.servers import wait_until
from tests.support.users import drop_users
from tests.support.worker import WorkerProcess

_numbers = itertools.count(1)

_MAIN = "import sys\nfrom fakesweep.cli import main\nsys.exit(main())"

MANY = 1_000_000
"""Rate limit that no test reaches."""


@dataclass(frozen=True)
class ApiProcess(WorkerProcess):
    """The process and its address."""

    url: str

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)


@contextmanager
def running_api(
    settings: Mapping[str, str], folder: Path, *words: str, before: str = ""
) -> Iterator[ApiProcess]:
    """Run the API for the context.

    `before` is Python code that its process runs first, for short deadlines or few file handles.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("FAKESWEEP_")
    } | {f"FAKESWEEP_{name}": value for name, value in settings.items()}
    written = folder / f"api-{next(_numbers)}.log"
    with written.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"{before}\n{_MAIN}", "api", "--port", "0", *words],
            env=environment | {"FAKESWEEP_LOG_FORMAT": "json", "TMPDIR": str(folder)},
            stdout=output,
            stderr=output,
        )
    try:
        api = ApiProcess(process, written, "")
        wait_until(
            lambda: _heard(api) is not None or process.poll() is not None, f"it listens: {written}"
        )
        heard = _heard(api)
        assert heard is not None, written.read_text()
        yield ApiProcess(process, written, f"http://{heard['host']}:{heard['port']}")
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Serving:
    """A running API with its ledger and settings."""

    api: ApiProcess
    engine: Engine
    settings: dict[str, str]

    def ask(self, token: str | None = None) -> httpx.Client:
        return self.api.client(token)


@contextmanager
def serving_api(postgres: str, broker_url: str, folder: Path) -> Iterator[Serving]:
    """Run an API with the rights of its role; it may read files below /allowed."""
    name = "fakesweep_test_api"
    server = open_engine(postgres, "tests")
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} TEMPLATE fakesweep_test_template STRATEGY FILE_COPY"
        )
        connection.exec_driver_sql(f"CREATE USER {name} IN ROLE fakesweep_api")
    url = make_url(postgres).set(database=name)
    settings = {
        "DATABASE_URL": url.set(username=name).render_as_string(),
        "BROKER_URL": f"{broker_url.rpartition('/')[0]}/14",
        "FILE_ROOTS": f"/allowed,{folder}",
        "API_PICTURES": str(folder / "pictures"),
    }
    with redis.Redis.from_url(settings["BROKER_URL"]) as broker:
        broker.flushdb()
    engine = open_engine(url.render_as_string(hide_password=False), "tests", pool_size=4)
    with running_api(settings, folder) as api:
        yield Serving(api, engine, settings)
    engine.dispose()
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    drop_users(server, name)
    server.dispose()


def make_token(
    engine: Engine,
    name: str = "tests",
    *,
    scopes: Collection[Scope] = tuple(Scope),
    rate: int = MANY,
    lifetime: timedelta | None = None,
) -> str:
    with engine.begin() as connection:
        return add_token(connection, name, scopes, rate, lifetime)


def make_token_at(database_url: str, name: str = "tests", **parts: Any) -> str:
    engine = open_engine(database_url, "tests")
    try:
        return make_token(engine, name, **parts)
    finally:
        engine.dispose()


def _heard(api: ApiProcess) -> dict[str, Any] | None:
    said = api.events("api_listening")
    return said[0] if said else None
