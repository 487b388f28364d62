"""Fields of an S3 Inventory, and their positions in a row."""

from collections.abc import Sequence
from datetime import datetime

FIELDS = (
    "bucket", "key", "version_id", "is_latest", "is_delete_marker", "size", "last_modified_date",
    "e_tag",
)  # fmt: skip


Row = tuple[
    str | None,
    str | None,
    str | None,
    bool | str | None,
    bool | str | None,
    int | str | None,
    datetime | str | None,
    str | None,
]
"""Fields of a row: text in CSV, typed values in other formats, None where absent."""


def places_of(columns: Sequence[str]) -> dict[str, int]:
    """Return the position of each field; CSV's `VersionId` equals `version_id` of other formats."""
    plain = {field.replace("_", ""): field for field in FIELDS}
    named = (plain.get(column.replace("_", "").lower()) for column in columns)
    return {field: place for place, field in enumerate(named) if field is not None}
