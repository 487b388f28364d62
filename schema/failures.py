"""Why an image has no verdict: a closed list of codes, one exception class for each.

ImageFailure
├── InvalidUri            the text names no image this system can address
├── FetchFailure
│   ├── ImageNotFound     the storage says there is no such object
│   ├── AccessDenied      the storage, or a setting of the operator, refuses to hand it out
│   ├── FetchTimedOut     the storage did not answer in time, on every attempt
│   ├── SourceUnavailable the storage answered with errors, on every attempt
│   └── ImageTooLarge     more bytes than `max_image_bytes`
├── DecodeFailure
│   ├── ImageEmpty        no bytes at all
│   ├── NotAnImage        the bytes are no image format this system reads
│   ├── UnsupportedImage  a picture, as far as it was looked at, that no decoder here reads
│   ├── CorruptImage      the format is known, its pixels cannot be decoded
│   ├── DecodeTimedOut    decoding takes longer than `decode_timeout_seconds`
│   ├── LoaderKilled      the process that had it was killed each time, alone and after pauses
│   └── TooManyPixels     more pixels than `max_image_pixels`
└── ClassifyFailure
    ├── ModelUnavailable  the worker cannot load the model the scan asked for
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
        """Whether people may well see what was not judged: then the review queue has it."""
        return self in _FOR_PEOPLE

    @property
    def is_about_bytes(self) -> bool:
        """Whether the same bytes fail again, so that an audit may pass over them for a while."""
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
"""All others may be the storage's, a model's or a moment's fault."""

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
    """One image cannot be judged; its message says why, in one line for people."""

    code: ClassVar[FailureCode]

    def __init__(self, message: str = "") -> None:
        super().__init__(reason(message))


class InvalidUri(ImageFailure):
    code = FailureCode.INVALID_URI


class FetchFailure(ImageFailure):
    """The bytes could not be had."""


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
    """The bytes could not be made into pixels."""


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
    """Make a failure again from its code and message, after a journey between processes."""
    return _CLASSES[FailureCode(code)](message)


_CLASSES: dict[FailureCode, type[ImageFailure]] = {
    failure.code: failure
    for family in ImageFailure.__subclasses__()
    for failure in (family, *family.__subclasses__())
    if "code" in vars(failure)
}
