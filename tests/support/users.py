"""Database users of tests, dropped after their objects."""

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from tests.support.servers import wait_until


def drop_users(engine: Engine, *names: str) -> None:
    """Drop users, with retries: an ended session drops its temporary tables with a delay."""
    wait_until(lambda: _are_dropped(engine, names), f"{', '.join(names)} are dropped")


def _are_dropped(engine: Engine, names: tuple[str, ...]) -> bool:
    try:
        with engine.begin() as connection:
            for name in names:
                connection.exec_driver_sql(f"DROP USER IF EXISTS {name}")
    except DBAPIError:
        return False
    return True
