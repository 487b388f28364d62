"""Facts of a decoded content, validated: a loader is not trusted."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fakesweep.schema.ledger.batches.contents import Content
from fakesweep.schema.words import ReadAs
from fakesweep.workers.sandbox.losses import LoaderLost

_Positive = Annotated[int, Field(ge=1, lt=2**31)]


class Facts(BaseModel):
    """Facts of a decoded content; `read_as` travels as a string."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    width: _Positive
    height: _Positive
    format: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{1,15}$")]
    frame_count: _Positive
    read_as: Annotated[ReadAs, Field(strict=False)]


def with_facts(content: Content, said: Mapping[str, Any], number: int | None = None) -> Content:
    """Return a content with its loader's facts; digest and size stay.

    Raises:
        LoaderLost: the facts of image `number` of the chunk are invalid.
    """
    try:
        facts = Facts.model_validate(said)
    except ValidationError as error:
        lost = LoaderLost("the loader answered with facts that cannot be")
        lost.number = number
        raise lost from error
    return replace(content, **facts.model_dump())
