"""COPY: bulk insertion of rows."""

import io
import re
from collections.abc import Iterable
from typing import cast

import psycopg2.extensions
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

_SPECIAL = re.compile(r"[\\\t\n\r]")


def copy_rows(connection: Connection, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Append rows to a table; values are written by `str`, None is NULL."""
    copy_lines(connection, table, lines_of(rows))


def lines_of(rows: Iterable[tuple[object, ...]]) -> bytes:
    """Return rows in COPY's text format."""
    return "".join("\t".join(map(_field, row)) + "\n" for row in rows).encode()


def copy_lines(connection: Connection, table: str, lines: bytes) -> None:
    """Append rows in the format of `lines_of` to a table."""
    driver = cast("psycopg2.extensions.connection", connection.connection.driver_connection)
    statement = f"COPY {table} FROM STDIN"
    try:
        with driver.cursor() as cursor:
            cursor.copy_expert(statement, io.BytesIO(lines))
    except psycopg2.Error as error:  # SQLAlchemy does not see the COPY
        raise DBAPIError.instance(statement, None, error, psycopg2.Error) from error


def _field(value: object) -> str:
    if value is None:
        return "\\N"
    written = str(value)
    if _SPECIAL.search(written) is None:
        return written
    return (
        written.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    )
