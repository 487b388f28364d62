"""Addresses of a home's servers, chosen once and kept, since running processes rely on them."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fakesweep.stack import accounts
from fakesweep.stack.accounts import Account

_FILE = "addresses.json"


@dataclass(frozen=True)
class Addresses:
    """Addresses that survive stops, crashes and restarts; None until they are chosen.

    `socket_folder` is set if the database's folder cannot hold PostgreSQL's socket.
    """

    broker_port: int | None = None
    broker_password: str | None = None
    socket_folder: str | None = None


def kept(home: Path) -> Addresses:
    """Return the addresses chosen earlier."""
    try:
        return Addresses(**json.loads((home / _FILE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return Addresses()


def keep(home: Path, account: Account | None, **chosen: Any) -> None:
    """Store the chosen addresses, and leave the others as they are."""
    addresses = replace(kept(home), **chosen)
    accounts.write_private(home / _FILE, json.dumps(asdict(addresses)), account)
