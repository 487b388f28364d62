"""Ended workers and producers of the local stack, recognised at once by their processes."""

import socket
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection

from fakesweep.schema.ledger.registry.processes import LIVE_SECONDS, seen_on
from fakesweep.schema.settings import Settings


def gone_here(connection: Connection, settings: Settings) -> list[UUID]:
    """Return the ids of workers and producers whose processes ended within `LIVE_SECONDS`.

    Only on the local stack, where all run on this machine; on a cluster their heartbeats expire.
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
