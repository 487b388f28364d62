"""Counts of a listing: skipped entries, and matches of patterns."""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, text

from fakesweep.schema.ledger.scans.scans import chosen

LEFT_OUT = "left_out"
INCLUDE = "include"
EXCLUDE = "exclude"

_COUNT = text("""
    INSERT INTO ledger.listing_counts AS c (scan_id, sort, name, files)
    SELECT :scan_id, new.* FROM unnest(
        CAST(:sorts AS text[]), CAST(:names AS text[]), CAST(:files AS bigint[])
    ) AS new (sort, name, files)
    ON CONFLICT (scan_id, sort, name) DO UPDATE SET files = c.files + excluded.files
""")

_LEFT_OUT = text("""
    SELECT reason, files FROM left_out WHERE scan_id = :scan_id ORDER BY files DESC, reason
""")

_MATCHED = text("""
    SELECT option, place FROM pattern_matches WHERE scan_id = :scan_id
""")


class ListingCounts(NamedTuple):
    """A counter of a listing: skipped entries by reason, or matches of a pattern.

    `sort` is `left_out`, `include` or `exclude`; `name` is the reason, or the pattern's position
    among those of its sort, from 1.
    """

    sort: str
    name: str


class Pattern(NamedTuple):
    """A pattern of a scan's selection: its option, `include` or `exclude`, and its text."""

    option: str
    pattern: str


def count_listed(connection: Connection, scan_id: int, counts: Mapping[ListingCounts, int]) -> None:
    """Add to the counters of a scan's listing."""
    found = [(one.sort, one.name, files) for one, files in counts.items() if files]
    if found:
        sorts, names, files = map(list, zip(*found, strict=True))
        wanted = {"scan_id": scan_id, "sorts": sorts, "names": names, "files": files}
        connection.execute(_COUNT, wanted)


def left_out_counts(connection: Connection, scan_id: int) -> dict[str, int]:
    """Return the skipped entries of a scan's listing by reason, the most frequent first."""
    rows = connection.execute(_LEFT_OUT, {"scan_id": scan_id})
    return {row.reason: row.files for row in rows}


def unmatched_patterns(connection: Connection, scan_id: int) -> list[Pattern]:
    """Return the patterns of a scan's selection without a match so far."""
    selection = chosen(connection, scan_id).selection
    matched = {tuple(row) for row in connection.execute(_MATCHED, {"scan_id": scan_id})}
    return [
        Pattern(option, pattern)
        for option, patterns in ((INCLUDE, selection.include), (EXCLUDE, selection.exclude))
        for place, pattern in enumerate(patterns, start=1)
        if (option, place) not in matched
    ]
