"""Dead letters: unreadable messages, recorded and counted."""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, text

from fakesweep.schema.reasons import reason, storable

MAX_BODY_CHARACTERS = 4_000
"""Characters of a message's text that are kept."""

_RECORD = text("""
    INSERT INTO ledger.unreadable_messages (queue, reason, body) VALUES (:queue, :reason, :body)
""")

_COUNT = text("SELECT count(*) FROM public.unreadable_messages WHERE acknowledged_at IS NULL")

_ACKNOWLEDGE = text("""
    UPDATE ledger.unreadable_messages SET acknowledged_at = now() WHERE acknowledged_at IS NULL
""")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An unreadable message: its queue, the reason, and the beginning of its text."""

    queue: str
    reason: str
    body: str


def record_unreadable(connection: Connection, letter: DeadLetter) -> None:
    """Record an unreadable message."""
    said = {name: storable(one) for name, one in asdict(letter).items()}
    said["reason"] = reason(letter.reason)
    connection.execute(_RECORD, said)


def unreadable_count(connection: Connection) -> int:
    """Return the number of unreadable messages that nobody has acknowledged."""
    return int(connection.execute(_COUNT).scalar_one())


def acknowledge_unreadable(connection: Connection) -> int:
    """Acknowledge every unreadable message; return how many were new."""
    return connection.execute(_ACKNOWLEDGE).rowcount
