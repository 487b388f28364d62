"""Lists page by page: what is asked for, and where a page ends."""

from typing import Annotated

from fastapi import Query
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from fakesweep.producer.api.models import LARGEST_ID
from fakesweep.schema.ledger.reports.images import Position

MOST_ROWS = 1_000

_ID = Annotated[int, Field(ge=1, le=LARGEST_ID)]


def position_of(text: str | None) -> Position:
    """Return the place that the end of a page says."""
    if text is None:
        return Position()
    batch_id, _, image_id = text.partition("-")
    return Position(int(batch_id), int(image_id))


def written(position: Position) -> str:
    """Return the end of a page as it stands in an address."""
    return f"{position.batch_id}-{position.image_id}"


Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows of a page at most")]
OfScan = Annotated[_ID | SkipJsonSchema[None], Query(description="Images of this scan alone")]
AfterScan = Annotated[_ID | SkipJsonSchema[None], Query(description="Scans before this one alone")]
PageEnd = Annotated[
    Annotated[str, Field(pattern=r"^[0-9]{1,18}-[0-9]{1,18}$")] | SkipJsonSchema[None],
    Query(description="Where the page before ended, as its `next` says", examples=["88-4711"]),
]
