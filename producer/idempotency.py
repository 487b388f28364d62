"""Idempotency tokens: a repeated request returns the scan of the first one."""

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
    """Return the scan of a token, None where the token is new.

    The token stays locked until the caller's transaction ends.

    Raises:
        ScanError: the token is malformed, or belongs to a different request.
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
