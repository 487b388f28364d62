"""Request and response models of the API, as in its OpenAPI document."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from fakesweep.schema.failures import FailureCode, InvalidUri
from fakesweep.schema.uris import LONGEST_URI_BYTES, SCHEMES, normalise
from fakesweep.schema.words import Kind, ScanState, VerdictWord

MOST_URIS = 1_000
LARGEST_ID = 2**63 - 1

_BEGINNINGS = tuple(f"{scheme}://" for scheme in SCHEMES)


def _checked(text: str) -> str:
    if not text.startswith(_BEGINNINGS):
        raise ValueError(f"a URI begins with one of {', '.join(_BEGINNINGS)}")
    try:
        normalise(text)
    except InvalidUri as error:
        raise ValueError(str(error)) from error
    return text


Uri = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST_URI_BYTES,
        json_schema_extra={"format": "image-uri", "pattern": "^(s3|http|https|file)://"},
        description=(
            "An image: `s3://bucket/key` with the key unencoded, `http://…` or `https://…` without "
            "credentials, `file:///…` percent-encoded and below a folder the operator allows"
        ),
    ),
    AfterValidator(_checked),
]


def _digits(text: object) -> object:
    if not re.fullmatch(r"[0-9]+", str(text), re.ASCII):
        raise ValueError("write digits alone")
    return text


RowId = Annotated[int, Path(ge=1, le=LARGEST_ID), BeforeValidator(_digits)]


def _either_uri_or_uris(schema: dict[str, Any]) -> None:
    for name in ("uri", "uris"):
        schema["properties"][name].pop("default", None)
    schema["oneOf"] = [{"required": ["uri"]}, {"required": ["uris"]}]


class Submission(BaseModel):
    """Submission of images: one `uri`, or several `uris`."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra=_either_uri_or_uris,
    )

    uri: Uri = ""
    uris: Annotated[list[Uri], Field(min_length=1, max_length=MOST_URIS)] = Field(
        default=[], description="In any order; the answer keeps it"
    )
    lane: Literal["live", "bulk"] = Field(
        "live", description="`live` images are judged before `bulk` ones"
    )

    @model_validator(mode="after")
    def _is_either_uri_or_uris(self) -> Self:
        if len({"uri", "uris"} & self.model_fields_set) != 1:
            raise ValueError("write either uri, or uris")
        return self

    @property
    def every_uri(self) -> list[str]:
        """The URIs, in the order of the answer."""
        return self.uris or [self.uri]


def _shown_by(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class ModelVerdict(BaseModel):
    """Verdict of one model."""

    p_fake: float
    verdict: VerdictWord
    kind: Kind | None = None


ImageStatus = Literal["pending", "classified", "reused", "failed"]


class AcceptedImage(BaseModel):
    """Accepted image, with the address of its status."""

    uri: str
    image_id: int
    href: str
    status: ImageStatus | None = Field(None, description="The status, if the request waited")
    verdicts: dict[str, ModelVerdict] | None = None
    failure_code: FailureCode | None = None
    failure_message: str | None = None
    finished_at: datetime | None = None


class Accepted(BaseModel):
    """Recorded images, in the order of the request; a repeated URI is one image."""

    model_config = _shown_by(
        {
            "scan_id": 12,
            "scan": "/v1/scans/12",
            "images": [
                {
                    "uri": "s3://uploads/2026/07/31/a.jpg",
                    "image_id": 4711,
                    "href": "/v1/images/4711",
                }
            ],
        }
    )

    scan_id: int
    scan: str = Field(description="Address of the progress of the images' scan")
    images: list[AcceptedImage]


class Failure(BaseModel):
    """Failure of an image, in place of a verdict."""

    code: FailureCode
    message: str | None = None


class Image(BaseModel):
    """Status of an image, with `verdicts` by model, or a `failure`."""

    model_config = _shown_by(
        {
            "image_id": 4711,
            "scan_id": 12,
            "uri": "s3://uploads/2026/07/31/a.jpg",
            "status": "classified",
            "verdicts": {"deepguard": {"p_fake": 0.97, "verdict": "fake", "kind": "ai_generated"}},
            "finished_at": "2026-07-31T12:00:01.5Z",
        }
    )

    image_id: int
    scan_id: int
    uri: str
    status: ImageStatus
    verdicts: dict[str, ModelVerdict]
    failure_code: FailureCode | None = None
    failure_message: str | None = None
    failure: Failure | None = Field(None, description="`failure_code` and `failure_message` again")
    finished_at: datetime | None = None


_SCAN = {
    "scan_id": 12,
    "name": "uploads 2026-07-31",
    "state": "listing",
    "lane": "live",
    "models": ["deepguard"],
    "policy": "default",
    "submitted": 3,
    "classified": 1,
    "reused": 1,
    "failed": 0,
    "pending": 1,
    "images_per_second": 2.0,
    "created_at": "2026-07-31T12:00:00Z",
    "progressed_at": "2026-07-31T12:00:01.5Z",
}
"""Scan of the examples."""


class Scan(BaseModel):
    """Progress of a scan: submitted = classified + reused + failed + pending, always.

    Submitted images belong to one scan per day and lane. Only audits have the counts from
    `unchanged` to `vanished`.
    """

    model_config = _shown_by(_SCAN)

    scan_id: int
    name: str | None
    state: ScanState
    lane: Literal["live", "bulk"]
    models: list[str]
    policy: str
    submitted: int
    classified: int
    reused: int
    failed: int
    pending: int
    images_per_second: float
    seconds_left: float | None = None
    created_at: datetime
    listed_at: datetime | None = None
    finished_at: datetime | None = None
    paused_at: datetime | None = None
    progressed_at: datetime
    unchanged: int | None = None
    new: int | None = None
    changed: int | None = None
    again: int | None = None
    vanished: int | None = None


class ImagePage(BaseModel):
    """Page of images in the order of their recording; `next` is the following page, if any."""

    model_config = _shown_by(
        {
            "images": [
                {
                    "image_id": 4711,
                    "scan_id": 12,
                    "uri": "s3://uploads/2026/07/31/a.jpg",
                    "status": "classified",
                    "verdicts": {
                        "deepguard": {"p_fake": 0.97, "verdict": "fake", "kind": "ai_generated"}
                    },
                    "finished_at": "2026-07-31T12:00:01.5Z",
                }
            ],
            "next": "/v1/images?scan=12&verdict=fake&limit=1&after=88-4711",
        }
    )

    images: list[Image]
    next: str | None = Field(None, description="Address of the next page; missing on the last")


class ScanPage(BaseModel):
    """Page of scans, newest first; `next` is the following page, if any."""

    model_config = _shown_by(
        {
            "scans": [_SCAN],
            "next": "/v1/scans?limit=1&after=12",
        }
    )

    scans: list[Scan]
    next: str | None = Field(None, description="Address of the next page; missing on the last")


class Health(BaseModel):
    """Health: both the ledger and the broker answer."""

    status: Literal["ok"] = "ok"
