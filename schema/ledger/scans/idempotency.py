"""Statements of tokens: what a scan was asked for with one, so that asking again finds the scan."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

# Whoever asks with the same token at the same moment waits until this transaction ends.
_LOCK_TOKEN = text("SELECT pg_advisory_xact_lock(hashtext('fakesweep token'), hashtext(:token))")

_OF_TOKEN = text("SELECT scan_id, asked FROM ledger.scans WHERE token = :token")

_SET_TOKEN = text("""
    UPDATE ledger.scans SET token = :token, asked = CAST(:asked AS jsonb) WHERE scan_id = :scan_id
""")


@dataclass(frozen=True, slots=True)
class AskedBefore:
    """The scan that a token belongs to, and what was asked for with it."""

    scan_id: int
    asked: Mapping[str, Any]


def take_token(connection: Connection, token: str) -> AskedBefore | None:
    """Keep a token to this transaction, and return the scan that it belongs to, if there is one."""
    connection.execute(_LOCK_TOKEN, {"token": token})
    row = connection.execute(_OF_TOKEN, {"token": token}).one_or_none()
    return None if row is None else AskedBefore(row.scan_id, row.asked)


def set_token(connection: Connection, scan_id: int, token: str, asked: Mapping[str, Any]) -> None:
    """Give a new scan its token."""
    connection.execute(_SET_TOKEN, {"scan_id": scan_id, "token": token, "asked": json.dumps(asked)})
