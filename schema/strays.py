"""Statements about messages that no worker could read: put aside, and counted."""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, text

from schema.reasons import reason, storable

MAX_BODY_CHARACTERS = 4_000
"""How much of a message's text is kept."""

_RECORD = text("""
    INSERT INTO ledger.unreadable_messages (queue, reason, body) VALUES (:queue, :reason, :body)
""")

_COUNT = text("SELECT count(*) FROM public.unreadable_messages")


@dataclass(frozen=True, slots=True)
class Stray:
    """A message that could not be read: where it lay, why, and how its text began."""

    queue: str
    reason: str
    body: str


def record_unreadable(connection: Connection, stray: Stray) -> None:
    """Put a message aside."""
    said = {name: storable(one) for name, one in asdict(stray).items()}
    said["reason"] = reason(stray.reason)
    connection.execute(_RECORD, said)


def unreadable_count(connection: Connection) -> int:
    """Return how many messages were ever put aside."""
    return int(connection.execute(_COUNT).scalar_one())
