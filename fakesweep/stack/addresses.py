"""Where a home's servers are reached: chosen once and kept, since running processes go by it."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fakesweep.stack import accounts
from fakesweep.stack.accounts import Account

_FILE = "addresses.json"


@dataclass(frozen=True)
class Addresses:
    """What stays through stops, crashes and restarts; None where nothing was chosen yet.

    `socket_folder` is PostgreSQL's where its own folder cannot hold a socket.
    """

    broker_port: int | None = None
    broker_password: str | None = None
    socket_folder: str | None = None


def kept(home: Path) -> Addresses:
    """Return what was chosen before."""
    try:
        return Addresses(**json.loads((home / _FILE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return Addresses()


def keep(home: Path, account: Account | None, **chosen: Any) -> None:
    """Keep what was chosen now, beside the rest."""
    addresses = replace(kept(home), **chosen)
    accounts.write_private(home / _FILE, json.dumps(asdict(addresses)), account)
