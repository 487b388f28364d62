"""Logins: PostgreSQL users for processes and people, each with one role."""

import re
from typing import Any

from psycopg2.extensions import encrypt_password
from sqlalchemy import Connection, text

from fakesweep.schema.errors import DatabaseError
from fakesweep.schema.words import LoginRole

LONGEST_NAME_BYTES = 63

_NAME = re.compile(r"[a-z_][a-z0-9_]*")

_FIND = text("""
    SELECT rolcanlogin AND NOT (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication
                                OR rolbypassrls) AS is_plain,
           ARRAY(SELECT m.roleid::regrole::text FROM pg_auth_members m WHERE m.member = r.oid)
               AS roles
    FROM pg_roles r WHERE rolname = :name
""")


_LIMITS = {
    LoginRole.ANALYST: (
        "SET statement_timeout = '5min'",
        "SET idle_in_transaction_session_timeout = '5min'",
        "SET default_transaction_read_only = on",
        "CONNECTION LIMIT 20",
    )
}
"""Defaults and limits of a login; a session can lift its SETs, not its connection limit."""


def set_login(connection: Connection, role: LoginRole, name: str, password: str) -> bool:
    """Create a login, or set the password of an existing one; return whether it is new.

    The server receives only the SCRAM verifier, which keeps the password out of its logs.

    Raises:
        DatabaseError: the name is invalid, the password is empty, or the user is no plain
            member of that role alone.
    """
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME_BYTES or name.startswith("pg_"):
        raise DatabaseError(
            f"{name!r} cannot name a login; use small letters, digits and _, "
            f"{LONGEST_NAME_BYTES} at most"
        )
    if not password or "\x00" in password:
        raise DatabaseError(f"the login {name} needs a password, without a NUL in it")
    found = connection.execute(_FIND, {"name": name}).one_or_none()
    if found is not None and not (found.is_plain and found.roles == [role.group]):
        raise DatabaseError(
            f"there is a user {name} already, who is not a member of {role.group} alone; "
            f"give the login another name"
        )
    driver: Any = connection.connection.dbapi_connection
    verifier = encrypt_password(password, name, scope=driver, algorithm="scram-sha-256")
    word = "CREATE" if found is None else "ALTER"
    connection.exec_driver_sql(f'{word} USER "{name}" PASSWORD %s', (verifier,))
    if found is None:
        connection.exec_driver_sql(f'GRANT {role.group} TO "{name}"')
        for limit in _LIMITS.get(role, ()):
            connection.exec_driver_sql(f'ALTER USER "{name}" {limit}')
    return found is None
