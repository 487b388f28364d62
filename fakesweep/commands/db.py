"""`fakesweep db`: the database's migration and address."""

import click

from fakesweep.reading import ledger_url, made_ledger_url
from schema.database import display_url, explained, open_engine
from schema.migrations import HEAD
from schema.migrations import upgrade as upgrade_database
from schema.settings import read_settings


@click.group()
def db() -> None:
    """Migrate the database, or show its address."""


@db.command()
def upgrade() -> None:
    """Bring the database to this version's migration; safe to repeat."""
    settings = read_settings()
    address = made_ledger_url(settings)
    engine = open_engine(address, "migration", pool_size=1)
    try:
        with explained(address), engine.begin() as connection:
            upgrade_database(connection)
    finally:
        engine.dispose()
    click.echo(f"{display_url(address)} is at migration {HEAD}")


@db.command()
def url() -> None:
    """Print the database's URL, password included, for psql and other tools."""
    click.echo(ledger_url(read_settings()))
