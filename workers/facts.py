"""What a loader may say of a content it decoded: these facts, in their types, and no others."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schema.words import ReadAs

_Positive = Annotated[int, Field(ge=1, lt=2**31)]


class Facts(BaseModel):
    """The facts of a decoded content; `read_as` travels as its word."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    width: _Positive
    height: _Positive
    format: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{1,15}$")]
    frame_count: _Positive
    read_as: Annotated[ReadAs, Field(strict=False)]
