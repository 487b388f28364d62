"""Statements of the reading side: everything a person is shown, from the public views."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from fakesweep.schema.errors import ScanError

_COUNTS = (
    "submitted", "classified", "reused", "failed", "pending", "unchanged", "new", "changed",
    "again",
)  # fmt: skip

_PROGRESS = text("SELECT *, now() AS at FROM scan_progress WHERE scan_id = :scan_id")

_RECENT = text("""
    SELECT *, now() AS at FROM scan_progress WHERE scan_id < :before
    ORDER BY scan_id DESC LIMIT :limit
""")

_SOURCES = text("""
    SELECT source FROM scan_sources WHERE scan_id = :scan_id ORDER BY position
""")


LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scan is: `submitted = classified + reused + failed + pending`, always.

    `images_per_second` is the rate of the last minute, or of its whole life where it is finished.
    `seconds_left_so_far` is what is pending at that rate while more is being listed. Neither is
    told before results have come for ten seconds, or work has gone on for a minute. An audit
    passes over what is `unchanged`; `new`, `changed` and `again` are what it submitted, `vanished`
    what it no longer found, None where that is not known. `at` is the database's clock.
    """

    scan_id: int
    name: str | None
    lane: str
    state: str
    submitted: int
    classified: int
    reused: int
    failed: int
    pending: int
    images_per_second: float
    seconds_left: float | None
    seconds_left_so_far: float | None
    models: tuple[str, ...]
    policy: str
    created_at: datetime
    listed_at: datetime | None
    finished_at: datetime | None
    paused_at: datetime | None
    progressed_at: datetime
    is_audit: bool
    unchanged: int
    new: int
    changed: int
    again: int
    vanished: int | None
    pruned_at: datetime | None
    at: datetime
    first_finished_at: datetime | None

    @property
    def ended(self) -> int:
        """Images that have a row: a verdict or a failure."""
        return self.classified + self.reused + self.failed

    @property
    def listed(self) -> int:
        """Images its sources have told of so far."""
        return self.unchanged + self.submitted

    @property
    def images_per_second_overall(self) -> float:
        """Images ended a second since it was asked for, pauses and waits included.

        Of a finished scan until it first was so, whatever was run again later.
        """
        return self.ended / self._seconds_until(self.first_finished_at or self.finished_at)

    @property
    def listed_per_second(self) -> float:
        """Images listed a second since it was asked for, pauses and waits included."""
        return self.listed / self._seconds_until(self.listed_at or self.finished_at)

    def _seconds_until(self, end: datetime | None) -> float:
        return max(0.001, ((end or self.at) - self.created_at).total_seconds())


def progress(connection: Connection, scan_id: int) -> Progress:
    """Return how far a scan is.

    Raises:
        ScanError: there is no such scan.
    """
    row = connection.execute(_PROGRESS, {"scan_id": scan_id}).mappings().one_or_none()
    if row is None:
        raise ScanError(f"there is no scan {scan_id}; `fakesweep status` lists the scans there are")
    return _progress(row)


def recent_scans(
    connection: Connection, limit: int = 20, before: int = LARGEST_ID
) -> list[Progress]:
    """Return the newest scans, newest first, of those before one of this number."""
    rows = connection.execute(_RECENT, {"limit": limit, "before": before}).mappings()
    return [_progress(row) for row in rows]


def sources_of(connection: Connection, scan_id: int) -> list[str]:
    """Return a scan's sources as they were asked for."""
    return list(connection.execute(_SOURCES, {"scan_id": scan_id}).scalars())


def _progress(row: Mapping[Any, Any]) -> Progress:
    shown: dict[str, Any] = {field.name: row.get(field.name) for field in fields(Progress)}
    shown |= {name: int(row[name]) for name in _COUNTS}
    left, so_far = row["seconds_left"], row["seconds_left_so_far"]
    shown |= {
        "images_per_second": float(row["images_per_second"]),
        "seconds_left": None if left is None else float(left),
        "seconds_left_so_far": None if so_far is None else float(so_far),
        "models": tuple(row["models"]),
    }
    return Progress(**shown)
