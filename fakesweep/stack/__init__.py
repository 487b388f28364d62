"""The local stack: real PostgreSQL and a real Redis-protocol server, all state in one folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fakesweep.stack import accounts, cluster, postgres, redis_server
from schema import database, migrations
from schema.errors import StackError
from schema.settings import Settings


def start_stack(settings: Settings) -> Settings:
    """Start what is not running, and return the settings with both URLs filled in.

    A URL that the settings name is used instead, and nothing is started for it. The database is
    brought to this code's migration. Safe to repeat, also at the same time, and after a crash.

    Raises:
        StackError: the message says what is missing or what failed, and what to do.
        MigrationError: the database was made by a newer fakesweep.
    """
    if settings.names_cluster:
        return settings
    with _explained(settings.home) as home, _locked(home):
        account = accounts.server_account(cluster.cluster_folder(home))
        _prepare(home, account)
        broker_url = settings.broker_url or redis_server.start(home, account)
        database_url = settings.database_url
        if database_url is None:
            database_url = postgres.start(home, account)
            _migrate(database_url)
    return settings.model_copy(update={"database_url": database_url, "broker_url": broker_url})


def find_stack(settings: Settings) -> Settings | None:
    """Return the settings with both URLs filled in, None where the local stack does not run.

    Raises:
        StackError: the folder belongs to somebody else.
    """
    with _explained(settings.home) as home:
        database_url = settings.database_url or postgres.running_url(home)
        broker_url = settings.broker_url or redis_server.running_url(home)
    if database_url is None or broker_url is None:
        return None
    return settings.model_copy(update={"database_url": database_url, "broker_url": broker_url})


def stop_stack(settings: Settings) -> list[str]:
    """Stop the servers of this home and return their names, none where none ran. Rows stay.

    Raises:
        StackError: a server does not go, or is somebody else's.
    """
    with _explained(settings.home) as home:
        if not home.is_dir():
            return []
        with _locked(home):
            return [server.NAME for server in (postgres, redis_server) if server.stop(home)]


@contextmanager
def _explained(named_home: Path) -> Iterator[Path]:
    """Yield the home with its links followed; turn the system's refusals into one line."""
    try:
        yield named_home.resolve()
    except OSError as error:
        what = f"{error.strerror}: {error.filename}" if error.filename else error.strerror or error
        raise StackError(
            f"the local stack cannot use {named_home} ({what}); set FAKESWEEP_HOME to a folder "
            f"that you can write to"
        ) from error


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Let one process at a time start or stop; the system frees the lock of one that dies."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(home, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _prepare(home: Path, account: accounts.Account | None) -> None:
    logs = home / "logs"
    if not logs.is_dir():
        logs.mkdir(mode=0o700)
        accounts.give(logs, account)
    accounts.open_way(logs, account)


def _migrate(database_url: str) -> None:
    engine = database.open_engine(database_url, "up")
    try:
        with database.explained(database_url), engine.begin() as connection:
            if migrations.current_migration(connection) != migrations.HEAD:
                migrations.upgrade(connection)
    finally:
        engine.dispose()
