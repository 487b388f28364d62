"""Statements about policies: the cut points there are, those that were, and a scan's own."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from fakesweep.schema.errors import CatalogueError
from fakesweep.schema.policy import Policy

_POLICIES = text("""
    SELECT policy_id, name, real_below, fake_above, is_current, created_at, scans FROM policies
    WHERE name = coalesce(CAST(:name AS text), name)
      AND (is_current OR CAST(:name AS text) IS NOT NULL)
    ORDER BY name, policy_id DESC
""")

_OF_SCAN = text("""
    SELECT name, real_below, fake_above FROM policies
    WHERE policy_id = (SELECT policy_id FROM scan_progress WHERE scan_id = :scan_id)
""")


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """A policy as it stands or stood, and how many scans are judged by it."""

    policy_id: int
    name: str
    real_below: float
    fake_above: float
    is_current: bool
    created_at: datetime
    scans: int


def list_policies(connection: Connection) -> list[PolicyReport]:
    """Return each policy as it stands now, by name."""
    return _read(connection, None)


def policy_history(connection: Connection, name: str) -> list[PolicyReport]:
    """Return a policy as it stands and as it stood before, the newest first.

    Raises:
        CatalogueError: there is no policy of that name.
    """
    found = _read(connection, name)
    if not found:
        raise CatalogueError(
            f"there is no policy {name!r}; `fakesweep policy list` shows those there are, "
            f"`fakesweep policy set` adds one"
        )
    return found


def policy_of_scan(connection: Connection, scan_id: int) -> Policy:
    """Return the policy that a scan is judged by."""
    row = connection.execute(_OF_SCAN, {"scan_id": scan_id}).one()
    return Policy(row.name, row.real_below, row.fake_above)


def _read(connection: Connection, name: str | None) -> list[PolicyReport]:
    rows = connection.execute(_POLICIES, {"name": name}).mappings()
    return [PolicyReport(**row) for row in rows]
