"""Access to the ledger: the database of the settings, or the local stack's."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy import Connection

from fakesweep.schema.ledger.connection import explained, open_engine
from fakesweep.schema.migrations import check_migration
from fakesweep.schema.settings import Settings
from fakesweep.stack import find_database, find_stack, start_database, start_stack
from fakesweep.stack.cluster import check_it_exists
from fakesweep.text import program


def ledger_url(settings: Settings) -> str:
    """Return the URL of the database to read; a stopped local one is started, with a notice.

    Raises:
        StackError: the settings name no database, and there is no local stack yet.
    """
    if (url := find_database(settings)) is not None:
        return url
    check_it_exists(settings)
    return made_ledger_url(settings)


def made_ledger_url(settings: Settings) -> str:
    """Return the URL of the database to write; the local one is created and started if needed.

    A notice on standard error says that it was started, since it keeps running.

    Raises:
        StackError: the local database cannot be started.
    """
    if (url := find_database(settings)) is not None:
        return url
    url = start_database(settings)
    _say_started("the database")
    return url


def existing_stack(settings: Settings) -> Settings:
    """Return the settings of the local stack; it is started if stopped, but not created.

    A notice on standard error says that it was started.

    Raises:
        StackError: there is no local stack yet.
    """
    if (found := find_stack(settings)) is not None:
        return found
    if settings.database_url is None:
        check_it_exists(settings)
    started = start_stack(settings)
    _say_started("a server")
    return started


def _say_started(what: str) -> None:
    click.echo(
        f"fakesweep: started {what} of the local stack; {program()} down stops it",
        err=True,
    )


@contextmanager
def reading(settings: Settings) -> Iterator[Connection]:
    """Yield a connection to the ledger, whose migration is this version's.

    Raises:
        StackError: there is no local stack yet.
        DatabaseError: the database does not answer, refuses, or is at another migration.
    """
    with connected(ledger_url(settings), "command") as connection:
        yield connection


@contextmanager
def connected(database_url: str, application: str) -> Iterator[Connection]:
    """Yield a connection to a database, whose migration is this version's; explain its errors.

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
