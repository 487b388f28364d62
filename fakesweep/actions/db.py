"""`fakesweep db`: the database's migration, its logins and its URL."""

import os
import sys
from collections.abc import Sequence

import click

from fakesweep.ledger_access import connected, ledger_url, made_ledger_url
from fakesweep.output import write_json
from fakesweep.schema.errors import DatabaseError
from fakesweep.schema.ledger.connection import (
    display_url,
    driver_url,
    explained,
    open_engine,
    plain_url,
)
from fakesweep.schema.ledger.logins import set_login
from fakesweep.schema.migrations import HEAD
from fakesweep.schema.migrations import upgrade as upgrade_database
from fakesweep.schema.settings import read_settings
from fakesweep.schema.words import LoginRole
from fakesweep.text import is_terminal


def upgrade(*, in_json: bool) -> None:
    """Migrate the database to this version's schema; safe to repeat."""
    settings = read_settings()
    address = made_ledger_url(settings)
    engine = open_engine(address, "migration", pool_size=1)
    try:
        with explained(address), engine.begin() as connection:
            upgrade_database(connection)
    finally:
        engine.dispose()
    if in_json:
        write_json({"database": display_url(address), "migration": HEAD})
        return
    click.echo(f"{display_url(address)} is at migration {HEAD}")


def login(*, roles: Sequence[str], name: str | None, in_json: bool) -> None:
    """Create a login for each role, or change its password."""
    if name is not None and len(roles) > 1:
        raise click.UsageError("--name names the login of one role; make one at a time")
    wanted = [(role, name or role.value, _password(role)) for role in map(LoginRole, roles)]
    with connected(made_ledger_url(read_settings()), "login") as connection:
        made = [set_login(connection, *one) for one in wanted]
        connection.commit()
    if in_json:
        logins = [
            {"name": called, "role": role.value, "group": role.group, "is_new": is_new}
            for (role, called, _), is_new in zip(wanted, made, strict=True)
        ]
        write_json({"logins": logins})
        return
    for (role, called, _), is_new in zip(wanted, made, strict=True):
        said = "may now log in, as a member of" if is_new else "has this password, as a member of"
        click.echo(f"{called} {said} {role.group}")


def _password(role: LoginRole) -> str:
    variable = f"{role.name}_PASSWORD"
    password = os.environ.get(variable, "")
    if not password and is_terminal(sys.stdin):
        password = str(click.prompt(f"Password of {role}", hide_input=True, err=True))
    if not password:
        raise DatabaseError(f"{variable} holds no password for the login {role}; set it")
    return password


def url(tool: str) -> None:
    """Print the database's URL, with its password."""
    address = ledger_url(read_settings())
    click.echo(driver_url(address) if tool == "sqlalchemy" else plain_url(address))
