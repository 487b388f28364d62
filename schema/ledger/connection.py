"""Connections to PostgreSQL: engines, and errors that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

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

from fakesweep.schema.errors import DatabaseError

CONNECT_TIMEOUT_SECONDS = 5
_SILENCE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""Limits of a server's silence: keepalives in seconds, the user timeout in milliseconds."""

_ENCODING = text("SHOW server_encoding")
_PING = text("SELECT 1")

_CONFLICTS = ("40001", "40P01")
_REFUSALS_THAT_PASS = ("08", "25006", "25P02", "42", "53", "55P03", "57", "58")
"""SQLSTATE prefixes that a retry may overcome.

They mean connections, a read-only server, an aborted transaction, missing rights or tables, full
resources, locks, operator intervention and system errors.
"""

_REFUSALS_OF_THE_WELL = ("25P02", "42", "55P03", "57014")
"""Those of a healthy server: rights, tables, locks, a cancelled or timed-out statement."""


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


def driver_url(database_url: str) -> str:
    """Return the URL with the driver's name, password included, as SQLAlchemy needs it."""
    return _postgresql(database_url).render_as_string(hide_password=False)


def plain_url(database_url: str) -> str:
    """Return the URL without a driver's name, password included, as libpq needs it."""
    return (
        _postgresql(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    )


@contextmanager
def explained(database_url: str) -> Iterator[None]:
    """Translate database errors into one line that names the server and the remedy.

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


def ping(connection: Connection) -> None:
    """Run a query that needs no table."""
    connection.execute(_PING)


def limit_statements(connection: Connection, milliseconds: int) -> None:
    """Set the statement timeout of this transaction, in milliseconds."""
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds:d}")


def check_encoding(connection: Connection) -> None:
    """Refuse a database whose encoding lacks characters that names of images have.

    Raises:
        DatabaseError: its encoding is not UTF8.
    """
    encoding = connection.scalar(_ENCODING)
    if encoding != "UTF8":
        raise DatabaseError(
            f"the database is in the encoding {encoding}, which cannot hold every name of an "
            f"image; make another: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


def first_line(error: SQLAlchemyError) -> str:
    """Return the first line of the driver's or the pool's message."""
    if isinstance(error, PoolTimeoutError):
        return "every connection of this process is in use"
    said = error.orig if isinstance(error, DBAPIError) else error
    lines = str(said).strip().splitlines()
    return lines[0] if lines else type(said).__name__


def may_pass(error: Exception) -> bool:
    """Return whether a retry may succeed: the error is not about the transaction's own rows."""
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "pgcode", None)
    if code is None:
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return code in _CONFLICTS or code.startswith(_REFUSALS_THAT_PASS)


def is_refusal(error: SQLAlchemyError) -> bool:
    """Return whether a healthy server refuses this work; a retry may succeed or never does."""
    code = getattr(error.orig, "pgcode", None) if isinstance(error, DBAPIError) else None
    return code is not None and (code in _CONFLICTS or code.startswith(_REFUSALS_OF_THE_WELL))


def is_conflict(error: Exception) -> bool:
    """Return whether the transaction conflicted with another, as in a deadlock."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "pgcode", None) in _CONFLICTS


def is_read_only(error: Exception) -> bool:
    """Return whether a session is read-only; it stays so to its end."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "pgcode", None) == "25006"


def _says_nothing(error: DBAPIError) -> bool:
    """Return whether an error means an unreachable server, and not its answer."""
    refused = getattr(error.orig, "pgcode", None) is not None
    return isinstance(error, OperationalError) and (error.connection_invalidated or not refused)


def _postgresql(database_url: str) -> URL:
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):
        raise DatabaseError(
            "FAKESWEEP_DATABASE_URL is no database URL; "
            "write postgresql://user:password@host:5432/name"
        ) from None
    if "@" in (url.host or "") or "@" in (url.database or ""):
        raise DatabaseError(
            "FAKESWEEP_DATABASE_URL holds an @ more than it should; in a user's name or password "
            "write it as %40, and / as %2F"
        )
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise DatabaseError(
            f"FAKESWEEP_DATABASE_URL names {url.get_backend_name()!r}, but the ledger is "
            f"PostgreSQL; write postgresql://user:password@host:5432/name"
        )
    return url.set(drivername="postgresql+psycopg2")
