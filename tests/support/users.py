"""Users of the database that tests make: dropped when what they own has gone."""

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from tests.support.servers import wait_until


def drop_users(engine: Engine, *names: str) -> None:
    """Drop users; a session that ends takes its temporary tables, which are its user's, later."""
    wait_until(lambda: _are_dropped(engine, names), f"{', '.join(names)} are dropped")


def _are_dropped(engine: Engine, names: tuple[str, ...]) -> bool:
    try:
        with engine.begin() as connection:
            for name in names:
                connection.exec_driver_sql(f"DROP USER IF EXISTS {name}")
    except DBAPIError:
        return False
    return True
