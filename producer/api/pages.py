"""Pagination: query parameters and positions."""

from typing import Annotated

from fastapi import Query
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from fakesweep.producer.api.models import LARGEST_ID
from fakesweep.schema.ledger.reports.images import Position

MOST_ROWS = 1_000

_ID = Annotated[int, Field(ge=1, le=LARGEST_ID)]


def position_of(text: str | None) -> Position:
    """Parse the end of a page; None is the start."""
    if text is None:
        return Position()
    batch_id, _, image_id = text.partition("-")
    return Position(int(batch_id), int(image_id))


def written(position: Position) -> str:
    """Return the end of a page as a query parameter."""
    return f"{position.batch_id}-{position.image_id}"


Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Maximal number of rows of a page")]
OfScan = Annotated[_ID | SkipJsonSchema[None], Query(description="Only images of this scan")]
AfterScan = Annotated[_ID | SkipJsonSchema[None], Query(description="Only scans before this one")]
PageEnd = Annotated[
    Annotated[str, Field(pattern=r"^[0-9]{1,18}-[0-9]{1,18}$")] | SkipJsonSchema[None],
    Query(description="End of the previous page, from its `next`", examples=["88-4711"]),
]
