"""Statements about policies: the cut points there are, those that were, and a scan's own."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from schema.errors import CatalogueError
from schema.policy import Policy

_POLICIES = text("""
    SELECT p.policy_id, p.name, p.real_below, p.fake_above, p.is_current, p.created_at,
           (SELECT count(*) FROM ledger.scans s WHERE s.policy_id = p.policy_id) AS scans
    FROM policies p
    WHERE p.name = coalesce(CAST(:name AS text), p.name)
      AND (p.is_current OR CAST(:name AS text) IS NOT NULL)
    ORDER BY p.name, p.policy_id DESC
""")

_OF_SCAN = text("""
    SELECT p.name, p.real_below, p.fake_above
    FROM ledger.scans s JOIN ledger.policies p USING (policy_id) WHERE s.scan_id = :scan_id
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
