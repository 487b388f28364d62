"""Idempotency of scans: a repeated request with the same token finds its scan."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

# A concurrent request with the same token waits until this transaction ends.
_LOCK_TOKEN = text("SELECT pg_advisory_xact_lock(hashtext('fakesweep token'), hashtext(:token))")

_OF_TOKEN = text("SELECT scan_id, asked FROM ledger.scans WHERE token = :token")

_SET_TOKEN = text("""
    UPDATE ledger.scans SET token = :token, asked = CAST(:asked AS jsonb) WHERE scan_id = :scan_id
""")


@dataclass(frozen=True, slots=True)
class AskedBefore:
    """The scan of a token, and the request that made it."""

    scan_id: int
    asked: Mapping[str, Any]


def take_token(connection: Connection, token: str) -> AskedBefore | None:
    """Lock a token for this transaction, and return its scan, if any."""
    connection.execute(_LOCK_TOKEN, {"token": token})
    row = connection.execute(_OF_TOKEN, {"token": token}).one_or_none()
    return None if row is None else AskedBefore(row.scan_id, row.asked)


def set_token(connection: Connection, scan_id: int, token: str, asked: Mapping[str, Any]) -> None:
    """Record the token of a new scan."""
    connection.execute(_SET_TOKEN, {"scan_id": scan_id, "token": token, "asked": json.dumps(asked)})
