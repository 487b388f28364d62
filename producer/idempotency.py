"""Asking again: a request with a token that was used before finds the scan it asked for."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from fakesweep.schema.errors import ScanError
from fakesweep.schema.ledger.scans.idempotency import take_token
from fakesweep.schema.net.storage import one_line

MAX_TOKEN_CHARACTERS = 64
SHOWN_CHARACTERS = 60


def asked_before(connection: Connection, token: str, asked: Mapping[str, Any]) -> int | None:
    """Return the scan that was asked for with this token, None where the token is new.

    Until the caller's transaction ends nobody else can ask with it.

    Raises:
        ScanError: the token is none, or something else was asked for with it.
    """
    if not (1 <= len(token) <= MAX_TOKEN_CHARACTERS and token.isprintable()):
        raise ScanError(f"a token has 1 to {MAX_TOKEN_CHARACTERS} printable characters")
    before = take_token(connection, token)
    if before is None:
        return None
    differing = [
        f"{name} {_shown(before.asked.get(name))}, not {_shown(value)}"
        for name, value in asked.items()
        if before.asked.get(name) != value
    ]
    if differing:
        raise ScanError(
            f"scan {before.scan_id} was asked for with the token {token!r} and "
            f"{'; '.join(differing)}; ask for something else with another token"
        )
    return before.scan_id


def _shown(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False), SHOWN_CHARACTERS)
