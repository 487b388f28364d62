"""Outages of the database or broker in one line: which server, why, and the remedy."""

from fakesweep.schema.broker import shown
from fakesweep.schema.ledger.connection import display_url
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import BROKER
from fakesweep.text import program


def away_in_words(server: str, reason: str, settings: Settings) -> str:
    """Return one line that a server does not answer, with its reason and remedy."""
    address = (
        settings.broker_url and shown(settings.broker_url)
        if server == BROKER
        else settings.database_url and display_url(settings.database_url)
    )
    where = f" at {address}" if address else ""
    remedy = "check that the server is up" if address else f"start it: {program()} up"
    return f"{_named(server)}{where} does not answer ({reason}); {remedy}"


def back_in_words(server: str) -> str:
    """Return one line that a server answers again."""
    return f"{_named(server)} answers again, and the work goes on"


def _named(server: str) -> str:
    return "the broker" if server == BROKER else "the database"
