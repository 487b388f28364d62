"""Ad hoc queries of a person, read-only and streamed."""

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg2.errorcodes import INVALID_CURSOR_DEFINITION
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DBAPIError

from fakesweep.schema.errors import DatabaseError
from fakesweep.schema.ledger.connection import first_line

_OPEN_QUERY = text("SELECT ledger.open_query(:query)")


FETCH_ROWS = 1_000


_FETCH = f"FETCH {FETCH_ROWS} FROM opened"


def query(connection: Connection, sql: str) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
    """Run one read-only query; return its column names and its rows, read lazily.

    The transaction is read-only and the server opens the text as a single cursor: it can neither
    write nor hold a second statement.

    Raises:
        DatabaseError: the text is not one query.
    """
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    try:
        connection.execute(_OPEN_QUERY, {"query": sql.strip().rstrip(";")})
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != INVALID_CURSOR_DEFINITION:
            raise
        raise DatabaseError(
            f"this is not one reading query, and `fakesweep sql` runs nothing else: "
            f"{first_line(error)}"
        ) from error
    first = connection.exec_driver_sql(_FETCH)
    return list(first.keys()), _rows(connection, first.all())


def _rows(connection: Connection, rows: Sequence[Row[Any]]) -> Iterator[Sequence[Any]]:
    while rows:
        yield from rows
        rows = connection.exec_driver_sql(_FETCH).all()
