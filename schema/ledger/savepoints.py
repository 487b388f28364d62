"""Savepoints: the work on one row fails alone."""

from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from fakesweep.schema.ledger.connection import first_line, may_pass


def apart(connection: Connection, work: Callable[[], object]) -> str | None:
    """Run work in a savepoint; return the database's refusal, None where it succeeds.

    Raises:
        DBAPIError: a retry may succeed; the transaction is over.
    """
    try:
        with connection.begin_nested():
            work()
    except DBAPIError as error:
        if may_pass(error):
            raise
        return first_line(error)
    return None
