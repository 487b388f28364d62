"""Policies: current and former cut points, and the policy of a scan."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, text

from fakesweep.schema.errors import CatalogueError
from fakesweep.schema.judging.policies import Policy

_CURRENT_POLICY = text("SELECT policy_id FROM policies WHERE name = :name AND is_current")


_STANDING_POLICY = text("SELECT ledger.standing_policy(:name, :real_below, :fake_above)")


_SET_POLICY = text("SELECT set_policy(:name, :real_below, :fake_above)")


_MAY_ADD_POLICIES = text("SELECT has_column_privilege('ledger.policies', 'name', 'INSERT')")


_POLICY_NAMES = text("SELECT name FROM policies WHERE is_current ORDER BY name")


_REJUDGE = text("SELECT rejudge(:scan_id, :policy)")


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
    """A current or former policy, and the number of scans it judges."""

    policy_id: int
    name: str
    real_below: float
    fake_above: float
    is_current: bool
    created_at: datetime
    scans: int


def list_policies(connection: Connection) -> list[PolicyReport]:
    """Return each current policy, by name."""
    return _read(connection, None)


def policy_history(connection: Connection, name: str) -> list[PolicyReport]:
    """Return the versions of a policy, the newest first.

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
    """Return a scan's policy."""
    row = connection.execute(_OF_SCAN, {"scan_id": scan_id}).one()
    return Policy(row.name, row.real_below, row.fake_above)


def _read(connection: Connection, name: str | None) -> list[PolicyReport]:
    rows = connection.execute(_POLICIES, {"name": name}).mappings()
    return [PolicyReport(**row) for row in rows]


def policy_id(connection: Connection, name: str, wanted: Policy | None) -> int:
    """Return the row of the newest policy of that name; add one where `wanted` differs.

    `wanted` is the policy of the operator's file, None where the database alone decides.

    Raises:
        CatalogueError: neither file nor database has the name, or the file differs and this
            user may not add a policy.
    """
    if wanted is not None:
        return _policy_as(connection, replace(wanted, name=name))
    found: int | None = connection.execute(_CURRENT_POLICY, {"name": name}).scalar_one_or_none()
    if found is None:
        known = ", ".join(connection.execute(_POLICY_NAMES).scalars())
        raise CatalogueError(f"policy {name!r} is not known; known: {known}")
    return found


def rejudge(connection: Connection, scan_id: int, policy: str) -> int:
    """Judge a scan's stored scores by another policy; return the number of changed verdicts."""
    return int(connection.execute(_REJUDGE, {"scan_id": scan_id, "policy": policy}).scalar_one())


def _policy_as(connection: Connection, wanted: Policy) -> int:
    standing: int | None = connection.execute(_STANDING_POLICY, asdict(wanted)).scalar_one()
    if standing is not None:
        return standing
    if not connection.execute(_MAY_ADD_POLICIES).scalar_one():
        raise CatalogueError(
            f"the ledger does not know policy {wanted.name!r} as the catalogue's file has it, and "
            f"this user may not add it; start `fakesweep producer` with that file first"
        )
    return int(connection.execute(_SET_POLICY, asdict(wanted)).scalar_one())
