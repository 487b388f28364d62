"""How a process gets to PostgreSQL: engines, migrations, and errors that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from schema.errors import DatabaseError, MigrationError

CONNECT_TIMEOUT_SECONDS = 5
_SILENCE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""When a server that fell silent is given up, in seconds and, the last, in milliseconds."""

_CONFLICTS = ("40001", "40P01")
_REFUSALS_THAT_PASS = ("08", "25006", "42", "53", "55P03", "57", "58")
"""Beginnings of PostgreSQL's codes: connections, a read-only server, rights or tables that are not
there (yet), full resources, locks, operators at work, system errors."""

_LOCK_MIGRATIONS = text("SELECT pg_advisory_xact_lock(hashtext('fakesweep migrations'))")


def open_engine(database_url: str, application: str, pool_size: int = 2) -> Engine:
    """Return an engine of at most `pool_size` connections; none is opened yet.

    Raises:
        DatabaseError: the URL is no PostgreSQL URL.
    """
    return create_engine(
        _postgresql(database_url),
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "application_name": f"fakesweep {application}",
            "client_encoding": "utf8",
            **_SILENCE,
        },
    )


def display_url(database_url: str) -> str:
    """Return the URL with its password hidden, for people and logs."""
    url = _postgresql(database_url).set(drivername="postgresql")
    hidden = {name: "***" for name in url.query if "password" in name}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


@contextmanager
def explained(database_url: str) -> Iterator[None]:
    """Turn a database that does not answer into one line that says which and what to do.

    Raises:
        DatabaseError: in place of SQLAlchemy's own errors.
    """
    try:
        yield
    except DBAPIError as error:
        if not _says_nothing(error):
            raise DatabaseError(f"PostgreSQL refused: {first_line(error)}") from error
        raise DatabaseError(
            f"PostgreSQL at {display_url(database_url)} does not answer: {first_line(error)}; "
            f"check FAKESWEEP_DATABASE_URL and that the server is up"
        ) from error


def first_line(error: SQLAlchemyError) -> str:
    """Return the first line of what the driver said, or what the pool of connections lacks."""
    if isinstance(error, PoolTimeoutError):
        return "every connection of this process is in use"
    said = error.orig if isinstance(error, DBAPIError) else error
    lines = str(said).strip().splitlines()
    return lines[0] if lines else type(said).__name__


def may_pass(error: Exception) -> bool:
    """Tell whether waiting may mend it: nothing of what the transaction held is to blame."""
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "pgcode", None)
    if code is None:
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return code in _CONFLICTS or code.startswith(_REFUSALS_THAT_PASS)


def is_conflict(error: Exception) -> bool:
    """Tell whether the transaction only met another one, as in a deadlock, and may be repeated."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "pgcode", None) in _CONFLICTS


def is_read_only(error: Exception) -> bool:
    """Tell whether a session may only read, as one that began so does to its end."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "pgcode", None) == "25006"


def storable(text: str) -> str:
    """Return the text as PostgreSQL can hold it: without NUL, and all of it Unicode."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def upgrade(connection: Connection) -> str:
    """Bring the database to this code's migration and return its name.

    Safe to repeat, and for several processes at once: the later ones wait and find it done.

    Raises:
        MigrationError: the database is ahead of this code.
    """
    config = _config()
    config.attributes["connection"] = connection
    connection.execute(_LOCK_MIGRATIONS)
    current = current_migration(connection)
    if current is not None and current not in _known(config):
        raise MigrationError(_ahead(current, head_migration()))
    command.upgrade(config, "head")
    return head_migration()


def check_migration(connection: Connection) -> None:
    """Refuse a database that is at another migration than this code.

    Raises:
        MigrationError: the message says which, and what to run.
    """
    current, head = current_migration(connection), head_migration()
    if current == head:
        return
    if current is not None and current not in _known(_config()):
        raise MigrationError(_ahead(current, head))
    found = f"at migration {current}" if current else "empty"
    raise MigrationError(
        f"the database is {found}, this fakesweep needs migration {head}; "
        f"run `fakesweep db upgrade`"
    )


def current_migration(connection: Connection) -> str | None:
    """Return the migration the database is at, None where it has none."""
    return MigrationContext.configure(connection).get_current_revision()


def head_migration() -> str:
    """Return the migration this code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise MigrationError("this installation carries no migrations; install fakesweep again")
    return head


def _says_nothing(error: DBAPIError) -> bool:
    """Tell a server that cannot be reached, or goes away, from one that answers with an error."""
    refused = getattr(error.orig, "pgcode", None) is not None
    return isinstance(error, OperationalError) and (error.connection_invalidated or not refused)


def _postgresql(database_url: str) -> URL:
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError) as error:
        raise DatabaseError(
            "FAKESWEEP_DATABASE_URL is no database URL; "
            "write postgresql://user:password@host:5432/name"
        ) from error
    if "@" in (url.host or ""):
        raise DatabaseError(
            "FAKESWEEP_DATABASE_URL holds an @ more than it should; "
            "in a user's name or password write it as %40"
        )
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise DatabaseError(
            f"FAKESWEEP_DATABASE_URL names {url.get_backend_name()!r}, but the ledger is "
            f"PostgreSQL; write postgresql://user:password@host:5432/name"
        )
    return url.set(drivername="postgresql+psycopg2")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "schema:migrations")
    return config


def _known(config: Config) -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}


def _ahead(current: str, head: str) -> str:
    return (
        f"the database is at migration {current}, which this fakesweep (migration {head}) does not "
        f"know; install the fakesweep that made it, or a newer one"
    )
