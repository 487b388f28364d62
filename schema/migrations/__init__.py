"""Migrations: the database's version, and the upgrade to this code's version.

Alembic is imported only for an upgrade, as nearly every command checks the version.
"""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from fakesweep.schema.errors import MigrationError
from fakesweep.schema.ledger.connection import check_encoding

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0030"
"""The migration this code needs."""

_KNOWN = {f"{number:04}" for number in range(1, int(HEAD) + 1)}

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('fakesweep migrations'))")
_HAS_BEGUN = text("SELECT to_regclass('alembic_version') IS NOT NULL")
_CURRENT = text("SELECT version_num FROM alembic_version")


def upgrade(connection: Connection) -> None:
    """Migrate the database to `HEAD`.

    Idempotent, also for concurrent processes: the later ones wait and find it done.

    Raises:
        DatabaseError: its encoding is not UTF8.
        MigrationError: the database is ahead of this code.
    """
    from alembic import command  # noqa: PLC0415 - see above

    check_encoding(connection)
    connection.execute(_LOCK)
    _refuse_ahead(current_migration(connection))
    command.upgrade(alembic_config(connection), "head")


def check_migration(connection: Connection) -> None:
    """Refuse a database at another migration.

    Raises:
        DatabaseError: its encoding is not UTF8.
        MigrationError: the message names the migration and the command to run.
    """
    check_encoding(connection)
    current = current_migration(connection)
    if current == HEAD:
        return
    _refuse_ahead(current)
    found = f"at migration {current}" if current else "empty"
    raise MigrationError(
        f"the database is {found}, this fakesweep needs migration {HEAD}; "
        f"run `fakesweep db upgrade`"
    )


def current_migration(connection: Connection) -> str | None:
    """Return the database's migration, None where it has none."""
    if not connection.scalar(_HAS_BEGUN):
        return None
    current: str | None = connection.scalar(_CURRENT)
    return current


def alembic_config(connection: Connection) -> "Config":
    """Return Alembic's configuration for a connection."""
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", "fakesweep.schema:migrations")
    config.attributes["connection"] = connection
    return config


def _refuse_ahead(current: str | None) -> None:
    if current is not None and current not in _KNOWN:
        raise MigrationError(
            f"the database is at migration {current}, which this fakesweep (migration {HEAD}) does "
            f"not know; install the fakesweep that made it, or a newer one"
        )
