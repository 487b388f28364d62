"""The closed sets of words that code, tables, logs and documents share."""

from enum import StrEnum
from typing import Literal


class Lane(StrEnum):
    """How urgent a batch is, the most urgent first; workers take them in this order.

    A scan asks for `live` or `bulk`. A batch that took workers down with it goes on in
    `quarantine`, where it runs alone in its worker.
    """

    LIVE = "live"
    QUARANTINE = "quarantine"
    BULK = "bulk"


SCAN_LANES = (Lane.LIVE, Lane.BULK)
"""The lanes that a scan can ask for."""


class ImageStatus(StrEnum):
    """How an image of a scan ended. An image without a status is pending."""

    CLASSIFIED = "classified"
    REUSED = "reused"
    FAILED = "failed"


class VerdictWord(StrEnum):
    """What a policy says about one score."""

    REAL = "real"
    UNCERTAIN = "uncertain"
    FAKE = "fake"


class Kind(StrEnum):
    """What sort of fake the scores point to."""

    AI_GENERATED = "ai_generated"
    DEEPFAKE = "deepfake"
    UNKNOWN = "unknown"


class ReadAs(StrEnum):
    """What the pixels are that a content was judged by.

    `image` are the picture's own, as the reference reads them. `scaled` are its own too, but had
    more than 8 bits, or were floats, and were brought to 8 bits by their own range. `preview` is
    the picture that a camera file carries of itself, `composite` a layered file's flat picture.
    """

    IMAGE = "image"
    SCALED = "scaled"
    PREVIEW = "preview"
    COMPOSITE = "composite"


class BatchState(StrEnum):
    """Where a batch stands: recorded → published → running → done.

    It is `held`, and not published, while its scan is paused or once that is cancelled; `following`
    while images of the same contents are fetched for it; `set_aside` while something is wrong with
    it, until it is tried again.
    """

    RECORDED = "recorded"
    PUBLISHED = "published"
    RUNNING = "running"
    DONE = "done"
    HELD = "held"
    FOLLOWING = "following"
    SET_ASIDE = "set_aside"


class Event(StrEnum):
    """What webhooks are told besides verdicts, by the type that a message names.

    A schedule's time is skipped, as one that was missed, or failed, where its scan was refused.
    """

    SCAN_ENDED = "scan.ended"
    SCHEDULE_SKIPPED = "schedule.skipped"
    SCHEDULE_FAILED = "schedule.failed"


class Change(StrEnum):
    """Why an audit looks at an image: what stands as it was judged, it passes over."""

    NEW = "new"
    CHANGED = "changed"
    AGAIN = "again"


class LeftOutReason(StrEnum):
    """Why a listing takes no image of something that lies in its source, or is said there."""

    OTHER_SUFFIX = "other_suffix"
    NOT_AN_IMAGE = "not_an_image"
    SPECIAL_FILE = "special_file"
    LINKED_FOLDER = "linked_folder"
    BROKEN_LINK = "broken_link"
    FOLDER_MARKER = "folder_marker"
    DELETE_MARKER = "delete_marker"
    FORMER_VERSION = "former_version"
    COMMENT = "comment"
    REPEATED = "repeated"
    NOT_INCLUDED = "not_included"
    EXCLUDED = "excluded"
    TOO_OLD = "too_old"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"


class ScanState(StrEnum):
    """Where a scan stands; derived in the `scan_progress` view, never stored."""

    LISTING = "listing"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"

    @property
    def is_last(self) -> bool:
        """Whether nothing more comes of the scan by itself."""
        return self in (ScanState.FINISHED, ScanState.CANCELLED)


class LoginRole(StrEnum):
    """What a login is for; each is a member of the role `fakesweep_…` and of no other."""

    PRODUCER = "producer"
    API = "api"
    WORKER = "worker"
    ANALYST = "analyst"

    @property
    def group(self) -> str:
        """Return the name of the role in PostgreSQL."""
        return f"fakesweep_{self}"


class Scope(StrEnum):
    """What a token is for: handing images in, or reading what came of them."""

    SUBMIT = "submit"
    READ = "read"


class Role(StrEnum):
    """Which processes have a pulse."""

    WORKER = "worker"
    PRODUCER = "producer"


LEDGER, BROKER = "ledger", "broker"
SERVERS = (LEDGER, BROKER)
"""The servers that all threads of a process wait for together."""

CHANGE_WORDS = ("new", "changed", "renamed", "again", "vanished")
"""In the order they are told; the view `audit_changes` has no others."""

PresetWord = Literal["224", "512"]
"""Sizes for a GPU, by the pixels a side of its models."""

PrecisionWord = Literal["auto", "float32", "bfloat16"]
DecodeWord = Literal["exact", "fast"]
