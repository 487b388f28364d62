"""Who of the local stack's workers and producers has gone, told by their processes at once."""

import socket
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection

from fakesweep.schema.ledger.registry.processes import LIVE_SECONDS, seen_on
from fakesweep.schema.settings import Settings


def gone_here(connection: Connection, settings: Settings) -> list[UUID]:
    """Return workers and producers that were seen lately and whose processes have ended.

    Of the local stack alone, where all run on this machine; others are told by their silence.
    """
    if settings.database_url is not None:
        return []
    seen = seen_on(connection, socket.gethostname(), LIVE_SECONDS)
    return [one for one, pid in seen if not _lives(pid)]


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return False
    return state[0] not in "ZX"
