"""Failures of images: a closed list of codes, one exception class for each.

ImageFailure
├── InvalidUri            the text is no URI of an image
├── FetchFailure
│   ├── ImageNotFound     the storage has no such object
│   ├── AccessDenied      the storage, or a setting of the operator, refuses access
│   ├── FetchTimedOut     the storage did not answer in time, on every attempt
│   ├── SourceUnavailable the storage answered with errors, on every attempt
│   └── ImageTooLarge     more bytes than `max_image_bytes`
├── DecodeFailure
│   ├── ImageEmpty        no bytes at all
│   ├── NotAnImage        the bytes are no known image format
│   ├── UnsupportedImage  a picture in a format that no decoder here reads
│   ├── CorruptImage      the format is known, its pixels cannot be decoded
│   ├── DecodeTimedOut    decoding takes longer than `decode_timeout_seconds`
│   ├── LoaderKilled      its loader process was killed each time, alone and after pauses
│   └── TooManyPixels     more pixels than `max_image_pixels`
└── ClassifyFailure
    ├── ModelUnavailable  the worker cannot load the scan's model
    └── ModelFailed       the model raised, or answered with no finite number
"""

from enum import StrEnum
from typing import ClassVar

from fakesweep.schema.reasons import reason


class FailureCode(StrEnum):
    """The closed list; the same words as the `failure_code` type in PostgreSQL."""

    INVALID_URI = "invalid_uri"
    NOT_FOUND = "not_found"
    ACCESS_DENIED = "access_denied"
    TIMED_OUT = "timed_out"
    UNAVAILABLE = "unavailable"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED = "unsupported"
    CORRUPT = "corrupt"
    DECODE_TIMED_OUT = "decode_timed_out"
    KILLED_LOADER = "killed_loader"
    TOO_MANY_PIXELS = "too_many_pixels"
    MODEL_UNAVAILABLE = "model_unavailable"
    MODEL_FAILED = "model_failed"
    KILLED_WORKER = "killed_worker"

    @property
    def is_for_people(self) -> bool:
        """Whether the review queue shows the image, which people may be able to see."""
        return self in _FOR_PEOPLE

    @property
    def is_about_bytes(self) -> bool:
        """Whether the same bytes fail again, so an audit may skip them for a while."""
        return self in _ABOUT_BYTES


_ABOUT_BYTES = frozenset(
    {
        FailureCode.TOO_LARGE,
        FailureCode.EMPTY,
        FailureCode.NOT_AN_IMAGE,
        FailureCode.UNSUPPORTED,
        FailureCode.CORRUPT,
        FailureCode.DECODE_TIMED_OUT,
        FailureCode.TOO_MANY_PIXELS,
        FailureCode.KILLED_WORKER,
    }
)
"""All other codes may come from the storage, a model or a moment."""

_FOR_PEOPLE = frozenset(
    {
        FailureCode.UNSUPPORTED,
        FailureCode.CORRUPT,
        FailureCode.DECODE_TIMED_OUT,
        FailureCode.KILLED_LOADER,
        FailureCode.TOO_MANY_PIXELS,
        FailureCode.KILLED_WORKER,
    }
)
"""The view `review_queue` names the same codes."""


class ImageFailure(Exception):
    """The failure of one image; its message is one line for people."""

    code: ClassVar[FailureCode]

    def __init__(self, message: str = "") -> None:
        super().__init__(reason(message))


class InvalidUri(ImageFailure):
    code = FailureCode.INVALID_URI


class FetchFailure(ImageFailure):
    """The bytes could not be fetched."""


class ImageNotFound(FetchFailure):
    code = FailureCode.NOT_FOUND


class AccessDenied(FetchFailure):
    code = FailureCode.ACCESS_DENIED


class FetchTimedOut(FetchFailure):
    code = FailureCode.TIMED_OUT


class SourceUnavailable(FetchFailure):
    code = FailureCode.UNAVAILABLE


class ImageTooLarge(FetchFailure):
    code = FailureCode.TOO_LARGE


class DecodeFailure(ImageFailure):
    """The bytes could not be decoded."""


class ImageEmpty(DecodeFailure):
    code = FailureCode.EMPTY


class NotAnImage(DecodeFailure):
    code = FailureCode.NOT_AN_IMAGE


class UnsupportedImage(DecodeFailure):
    code = FailureCode.UNSUPPORTED


class CorruptImage(DecodeFailure):
    code = FailureCode.CORRUPT


class DecodeTimedOut(DecodeFailure):
    code = FailureCode.DECODE_TIMED_OUT


class LoaderKilled(DecodeFailure):
    code = FailureCode.KILLED_LOADER


class TooManyPixels(DecodeFailure):
    code = FailureCode.TOO_MANY_PIXELS


class ClassifyFailure(ImageFailure):
    """The pixels could not be scored."""


class ModelUnavailable(ClassifyFailure):
    code = FailureCode.MODEL_UNAVAILABLE


class ModelFailed(ClassifyFailure):
    code = FailureCode.MODEL_FAILED


def failure_of(code: str, message: str) -> ImageFailure:
    """Rebuild a failure from its code and message, as sent between processes."""
    return _CLASSES[FailureCode(code)](message)


_CLASSES: dict[FailureCode, type[ImageFailure]] = {
    failure.code: failure
    for family in ImageFailure.__subclasses__()
    for failure in (family, *family.__subclasses__())
    if "code" in vars(failure)
}
