"""The fields of an S3 Inventory that are read, and their places in a row."""

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
"""The fields of a row as its file has them: text in CSV, values in others; None says nothing."""


def places_of(columns: Sequence[str]) -> dict[str, int]:
    """Return where each field of a row stands; CSV spells `VersionId` what others `version_id`."""
    plain = {field.replace("_", ""): field for field in FIELDS}
    named = (plain.get(column.replace("_", "").lower()) for column in columns)
    return {field: place for place, field in enumerate(named) if field is not None}
