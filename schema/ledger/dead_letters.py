"""Statements about messages that no worker could read: put aside, and counted."""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, text

from fakesweep.schema.reasons import reason, storable

MAX_BODY_CHARACTERS = 4_000
"""How much of a message's text is kept."""

_RECORD = text("""
    INSERT INTO ledger.unreadable_messages (queue, reason, body) VALUES (:queue, :reason, :body)
""")

_COUNT = text("SELECT count(*) FROM public.unreadable_messages WHERE acknowledged_at IS NULL")

_ACKNOWLEDGE = text("""
    UPDATE ledger.unreadable_messages SET acknowledged_at = now() WHERE acknowledged_at IS NULL
""")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be read: where it lay, why, and how its text began."""

    queue: str
    reason: str
    body: str


def record_unreadable(connection: Connection, letter: DeadLetter) -> None:
    """Put a message aside."""
    said = {name: storable(one) for name, one in asdict(letter).items()}
    said["reason"] = reason(letter.reason)
    connection.execute(_RECORD, said)


def unreadable_count(connection: Connection) -> int:
    """Return how many messages were put aside and not acknowledged since."""
    return int(connection.execute(_COUNT).scalar_one())


def acknowledge_unreadable(connection: Connection) -> int:
    """Note that somebody knows of every message that was put aside; return of how many anew."""
    return connection.execute(_ACKNOWLEDGE).rowcount
