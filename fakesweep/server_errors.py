"""What a person is told of a server that does not answer: which, why, and what to do."""

from fakesweep.schema.broker import shown
from fakesweep.schema.ledger.connection import display_url
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import BROKER
from fakesweep.text import program


def away_in_words(server: str, reason: str, settings: Settings) -> str:
    """Return in one line that the ledger's or the broker's server is away, and the cure."""
    address = (
        settings.broker_url and shown(settings.broker_url)
        if server == BROKER
        else settings.database_url and display_url(settings.database_url)
    )
    where = f" at {address}" if address else ""
    cure = "check that the server is up" if address else f"start it: {program()} up"
    return f"{_named(server)}{where} does not answer ({reason}); {cure}"


def back_in_words(server: str) -> str:
    """Return that it answers again."""
    return f"{_named(server)} answers again, and the work goes on"


def _named(server: str) -> str:
    return "the broker" if server == BROKER else "the database"
