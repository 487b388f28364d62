"""Work on one row in a savepoint of its own: what is wrong with it is undone for it alone."""

from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from fakesweep.schema.ledger.connection import first_line, may_pass


def apart(connection: Connection, work: Callable[[], object]) -> str | None:
    """Do the work in a savepoint; return why the database refuses it, None where it is done.

    Raises:
        DBAPIError: it may pass, so that no row is to blame; the transaction is over.
    """
    try:
        with connection.begin_nested():
            work()
    except DBAPIError as error:
        if may_pass(error):
            raise
        return first_line(error)
    return None
