"""`fakesweep db`: the database's migration, its logins and its URL."""

from typing import Any

import click

from fakesweep.output import json_option
from fakesweep.schema.words import LoginRole


@click.group()
def db() -> None:
    """Migrate the database, create its logins, or show its URL."""


@db.command()
@json_option
def upgrade(**asked: Any) -> None:
    """Migrate the database to this version's schema; safe to repeat."""
    from fakesweep.actions.db import upgrade as run

    run(**asked)


@db.command()
@click.argument(
    "roles",
    metavar="ROLE…",
    nargs=-1,
    required=True,
    type=click.Choice([role.value for role in LoginRole]),
)
@click.option("--name", help="Name of the login, for a single ROLE; the role's own by default.")
@json_option
def login(**asked: Any) -> None:
    """Create a login for each role, or change its password.

    \b
    producer  lists sources, publishes batches, controls scans, sends webhooks
    api       accepts images and reads their results
    worker    leases batches and stores verdicts
    analyst   reads the views

    The password is read from the variable ROLE_PASSWORD, such as WORKER_PASSWORD; without it, a
    terminal asks. FAKESWEEP_DATABASE_URL must name a user that can create users.
    """  # noqa: D301 - click's word for lines that stay
    from fakesweep.actions.db import login as run

    run(**asked)


@db.command()
@click.option(
    "--for",
    "tool",
    type=click.Choice(["psql", "sqlalchemy"]),
    default="psql",
    show_default=True,
    help="psql and other libpq programs, or SQLAlchemy and libraries on it, such as pandas.",
)
def url(**asked: Any) -> None:
    """Print the database's URL, with its password."""
    from fakesweep.actions.db import url as run

    run(**asked)
