"""Progress of scans, read from the public views."""

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
    """The progress of a scan: `submitted = classified + reused + failed + pending`, always.

    `images_per_second` is the rate of the last minute, of a finished scan its whole rate.
    `seconds_left_so_far` is the time for the pending images at that rate while the listing goes on.
    Both are None until results have come for ten seconds or work has run for a minute. An audit
    skips `unchanged` images; `new`, `changed` and `again` are those it submitted, `vanished` those
    it missed, None where unknown. `at` is by the database's clock.
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
        """Images with a verdict or a failure."""
        return self.classified + self.reused + self.failed

    @property
    def listed(self) -> int:
        """Images that the sources have listed so far."""
        return self.unchanged + self.submitted

    @property
    def images_per_second_overall(self) -> float:
        """Images ended a second since the scan was asked for, pauses included.

        For a finished scan the time ends at its first finish, whatever ran again later.
        """
        return self.ended / self._seconds_until(self.first_finished_at or self.finished_at)

    @property
    def listed_per_second(self) -> float:
        """Images listed a second since the scan was asked for, pauses included."""
        return self.listed / self._seconds_until(self.listed_at or self.finished_at)

    def _seconds_until(self, end: datetime | None) -> float:
        return max(0.001, ((end or self.at) - self.created_at).total_seconds())


def progress(connection: Connection, scan_id: int) -> Progress:
    """Return the progress of a scan.

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
    """Return the newest scans below the number `before`, newest first."""
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
