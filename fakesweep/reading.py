"""Where reading commands find the ledger: the settings' database, or the local stack's."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from fakesweep.extras import require_worker_extra
from fakesweep.stack import find_stack, start_stack
from fakesweep.stack.cluster import cluster_folder
from schema.database import explained, open_engine
from schema.errors import StackError
from schema.migrations import check_migration
from schema.settings import Settings


def ledger_url(settings: Settings) -> str:
    """Return the database to read, starting the local stack where its rows lie.

    Raises:
        StackError: there is neither, so there is nothing to read yet.
    """
    url = settings.database_url or existing_stack(settings).database_url
    if url is None:
        raise StackError("the local stack names no database; run `fakesweep up`")
    return url


def existing_stack(settings: Settings) -> Settings:
    """Return the settings of the local stack, started where it was stopped, never made anew.

    Raises:
        StackError: there is no local stack yet.
    """
    found = find_stack(settings)
    if found is not None:
        return found
    if not cluster_folder(settings.home).is_dir():
        raise StackError(
            f"there is nothing yet: no FAKESWEEP_DATABASE_URL, and no local stack in "
            f"{settings.home}; `fakesweep scan FOLDER` makes one"
        )
    return start_stack(settings)


def settings_to_go_on(settings: Settings, *, detach: bool) -> Settings:
    """Return the settings by which a command goes on with a scan: the cluster's, or the stack's.

    Raises:
        FakesweepError: on the local stack there is nothing yet, or no worker could be run.
    """
    if settings.names_cluster:
        return settings
    if not detach:
        require_worker_extra()
    return existing_stack(settings)


@contextmanager
def reading(settings: Settings) -> Iterator[Connection]:
    """Yield a connection to the ledger, at this code's migration.

    Raises:
        StackError: there is nothing to read yet.
        DatabaseError: the database does not answer, refuses, or is at another migration.
    """
    with connected(ledger_url(settings), "command") as connection:
        yield connection


@contextmanager
def connected(database_url: str, application: str) -> Iterator[Connection]:
    """Yield a connection to a database at this code's migration, explaining its errors.

    Raises:
        DatabaseError: the database does not answer, refuses, or is at another migration.
    """
    engine = open_engine(database_url, application, pool_size=1)
    try:
        with explained(database_url), engine.connect() as connection:
            check_migration(connection)
            connection.rollback()
            yield connection
    finally:
        engine.dispose()
