"""The local stack: a PostgreSQL and a Redis-protocol server, with all state in one folder."""

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType

from fakesweep.schema import migrations
from fakesweep.schema.errors import StackError
from fakesweep.schema.ledger import connection as database
from fakesweep.schema.settings import Settings
from fakesweep.stack import accounts, cluster, postgres, redis_server, uses

SERVERS = (postgres, redis_server)

_STARTED = "started"
"""File with the names of the servers that should run, so that a dead one is recognised."""


def start_stack(settings: Settings) -> Settings:
    """Start the servers that do not run, and return the settings with both URLs filled in.

    A server that the settings name is not started. The database is migrated to this version's
    schema. Safe to repeat, concurrently and after a crash: servers keep their addresses. If one
    cannot start, those started in this call are stopped.

    Raises:
        StackError: a server is not installed or did not start; the message says what to do.
        MigrationError: a newer fakesweep made the database.
    """
    with explained_home(settings.home) as home:
        urls = _start(home, _local(settings))
    return _filled_in(settings, urls)


def start_database(settings: Settings) -> str:
    """Start PostgreSQL, unless the settings name a database, and return the database's URL.

    Raises:
        StackError: PostgreSQL is not installed or did not start; the message says what to do.
        MigrationError: a newer fakesweep made the database.
    """
    if settings.database_url is not None:
        return settings.database_url
    with explained_home(settings.home) as home:
        return _start(home, [postgres])[postgres.NAME]


def revive_stack(settings: Settings) -> list[str]:
    """Restart servers that died, and return their names.

    Servers that `stop_stack` stopped stay stopped.

    Raises:
        StackError: a server cannot be started.
    """
    with explained_home(settings.home) as home:
        if not _dead(home, settings):
            return []
        with _locked(home):
            dead = _dead(home, settings)
            _start_locked(home, dead)
        return [server.NAME for server in dead]


def find_stack(settings: Settings) -> Settings | None:
    """Return the settings with both URLs filled in, None if the local stack does not run.

    Raises:
        StackError: the home belongs to another user.
    """
    with explained_home(settings.home) as home:
        urls = {server.NAME: server.running_url(home) for server in _local(settings)}
    return None if None in urls.values() else _filled_in(settings, urls)


def find_database(settings: Settings) -> str | None:
    """Return the database's URL, None if the local stack's PostgreSQL does not run.

    Raises:
        StackError: the home belongs to another user.
    """
    with explained_home(settings.home) as home:
        return settings.database_url or postgres.running_url(home)


def stop_stack(settings: Settings) -> list[str]:
    """Stop the servers of this home, and return the names of those that ran. The database stays.

    Raises:
        StackError: a server does not stop, or belongs to another user.
    """
    with explained_home(settings.home) as home:
        if not home.is_dir():
            return []
        with _locked(home):
            (home / _STARTED).unlink(missing_ok=True)
            return [server.NAME for server in SERVERS if server.stop(home)]


@contextmanager
def used_stack(settings: Settings, what: str) -> Iterator[None]:
    """Register this process as `what` among the users of the servers of this home.

    Raises:
        StackError: the home cannot be written.
    """
    with ExitStack() as resources:
        with explained_home(settings.home) as home, _locked(home):
            resources.enter_context(uses.in_use(home, what))
        yield


def stack_uses(settings: Settings) -> Sequence[uses.Use]:
    """Return the other processes that use the servers of this home.

    Raises:
        StackError: the home belongs to another user.
    """
    with explained_home(settings.home) as home:
        return uses.other_uses(home)


def _local(settings: Settings) -> list[ModuleType]:
    """Return the servers that the settings do not name."""
    named = (settings.database_url, settings.broker_url)
    return [server for server, url in zip(SERVERS, named, strict=True) if url is None]


def _filled_in(settings: Settings, urls: Mapping[str, str | None]) -> Settings:
    return settings.model_copy(
        update={
            "database_url": settings.database_url or urls[postgres.NAME],
            "broker_url": settings.broker_url or urls[redis_server.NAME],
        }
    )


def _start(home: Path, servers: Sequence[ModuleType]) -> dict[str, str]:
    if not servers:
        return {}
    with _locked(home):
        return _start_locked(home, servers)


def _start_locked(home: Path, servers: Sequence[ModuleType]) -> dict[str, str]:
    account = accounts.server_account(cluster.cluster_folder(home))
    _prepare(home, account)
    at_work = uses.other_uses(home)
    urls: dict[str, str] = {}
    with ExitStack() as undoing:
        for server in servers:
            if not server.lives(home):
                undoing.callback(_stop_quietly, server, home)
            urls[server.NAME] = server.start(home, account, at_work)
        if postgres in servers:
            migrate(urls[postgres.NAME])
        started = {*_started(home), *urls}
        accounts.write_private(home / _STARTED, "\n".join(sorted(started)), account)
        undoing.pop_all()
    return urls


def _stop_quietly(server: ModuleType, home: Path) -> None:
    with suppress(StackError, OSError):
        server.stop(home)


def _dead(home: Path, settings: Settings) -> list[ModuleType]:
    """Return the servers that should run and do not."""
    started = _started(home)
    return [one for one in _local(settings) if one.NAME in started and not one.lives(home)]


def _started(home: Path) -> list[str]:
    try:
        return (home / _STARTED).read_text().split("\n")
    except FileNotFoundError:
        return []


@contextmanager
def explained_home(named_home: Path) -> Iterator[Path]:
    """Yield the home with links resolved; turn OSError into StackError.

    Raises:
        StackError: the system refused access to the home.
    """
    try:
        home = named_home.resolve()
        accounts.check_home(home)
        yield home
    except OSError as error:
        what = f"{error.strerror}: {error.filename}" if error.filename else error.strerror or error
        raise StackError(
            f"the local stack cannot use {named_home} ({what}); set FAKESWEEP_HOME to a folder "
            f"that you can write to"
        ) from error


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Hold an exclusive lock on the home; the system releases it when the process dies."""
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


def migrate(database_url: str) -> None:
    """Migrate a database to this version's schema.

    Raises:
        DatabaseError: the database refuses.
        MigrationError: a newer fakesweep made the database.
    """
    engine = database.open_engine(database_url, "up")
    try:
        with database.explained(database_url), engine.begin() as connection:
            if migrations.current_migration(connection) != migrations.HEAD:
                migrations.upgrade(connection)
    finally:
        engine.dispose()
