"""`fakesweep db`: the database's migration, its logins and its address."""

from typing import Any

import click

from fakesweep.output import json_option
from fakesweep.schema.words import LoginRole


@click.group()
def db() -> None:
    """Migrate the database, make its logins, or show its address."""


@db.command()
@json_option
def upgrade(**asked: Any) -> None:
    """Bring the database to this version's migration; safe to repeat."""
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
@click.option("--name", help="What the login of a single role is called, in place of the role.")
@json_option
def login(**asked: Any) -> None:
    """Make a login for each role, or give the one there is another password.

    \b
    producer  lists, publishes, steers scans, signs webhooks
    api       takes images in and answers what came of them
    worker    takes batches and stores verdicts
    analyst   reads the views

    The password is read from the variable ROLE_PASSWORD, as WORKER_PASSWORD, and asked for on a
    terminal where that is not set. Only who may make users can do this, as the database's owner.
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
    help="Who reads it: psql and all of libpq, or SQLAlchemy and what is built on it, as pandas.",
)
def url(**asked: Any) -> None:
    """Print the database's URL, password included, for psql and other tools."""
    from fakesweep.actions.db import url as run

    run(**asked)
