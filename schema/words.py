"""The closed sets of words that code, tables, logs and documents share."""

from enum import StrEnum
from typing import Literal


class Lane(StrEnum):
    """The urgency of a batch, most urgent first; workers claim in this order.

    A scan asks for `live` or `bulk`. A batch whose workers died goes on in `quarantine`, alone in
    its worker.
    """

    LIVE = "live"
    QUARANTINE = "quarantine"
    BULK = "bulk"


SCAN_LANES = (Lane.LIVE, Lane.BULK)
"""The lanes that a scan can ask for."""


class ImageStatus(StrEnum):
    """The outcome of an image; one without an outcome is pending."""

    CLASSIFIED = "classified"
    REUSED = "reused"
    FAILED = "failed"


class VerdictWord(StrEnum):
    """The word of a policy for one score."""

    REAL = "real"
    UNCERTAIN = "uncertain"
    FAKE = "fake"


class Kind(StrEnum):
    """The sort of fake that the scores point to."""

    AI_GENERATED = "ai_generated"
    DEEPFAKE = "deepfake"
    UNKNOWN = "unknown"


class ReadAs(StrEnum):
    """The origin of the pixels by which a content was judged.

    `image` is the picture itself, as the reference decodes it. `scaled` is the picture itself,
    converted to 8 bits by its own range. `preview` is the picture that a camera file embeds,
    `composite` the flat picture of a layered file.
    """

    IMAGE = "image"
    SCALED = "scaled"
    PREVIEW = "preview"
    COMPOSITE = "composite"


class BatchState(StrEnum):
    """The state of a batch: recorded → published → running → done.

    It is `held`, unpublished, while its scan is paused or after its cancellation; `following` while
    images with the same contents are fetched; `set_aside` after a refusal by the ledger, until its
    retry.
    """

    RECORDED = "recorded"
    PUBLISHED = "published"
    RUNNING = "running"
    DONE = "done"
    HELD = "held"
    FOLLOWING = "following"
    SET_ASIDE = "set_aside"


class Event(StrEnum):
    """Events for webhooks besides verdicts, by the `type` of the body.

    A schedule's run is skipped or missed, or failed where its scan was refused.
    """

    SCAN_ENDED = "scan.ended"
    SCHEDULE_SKIPPED = "schedule.skipped"
    SCHEDULE_FAILED = "schedule.failed"


class Change(StrEnum):
    """Why an audit submits an image; images that stand are skipped."""

    NEW = "new"
    CHANGED = "changed"
    AGAIN = "again"


class LeftOutReason(StrEnum):
    """Why a listing skips an entry of its source."""

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
    """The state of a scan; derived in the `scan_progress` view, never stored."""

    LISTING = "listing"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"

    @property
    def is_last(self) -> bool:
        """Whether the scan stays as it is until somebody acts."""
        return self in (ScanState.FINISHED, ScanState.CANCELLED)


class LoginRole(StrEnum):
    """The purpose of a login, a member of the role `fakesweep_…` and of no other."""

    PRODUCER = "producer"
    API = "api"
    WORKER = "worker"
    ANALYST = "analyst"

    @property
    def group(self) -> str:
        """Return the name of the role in PostgreSQL."""
        return f"fakesweep_{self}"


class Scope(StrEnum):
    """The scope of an API token: submit images, or read results."""

    SUBMIT = "submit"
    READ = "read"


class Role(StrEnum):
    """The processes with a heartbeat."""

    WORKER = "worker"
    PRODUCER = "producer"


LEDGER, BROKER = "ledger", "broker"
SERVERS = (LEDGER, BROKER)
"""The servers for whose outages all threads of a process wait together."""

CHANGE_WORDS = ("new", "changed", "renamed", "again", "vanished")
"""The changes that the view `audit_changes` has, in order of display."""

PresetWord = Literal["224", "512"]
"""GPU presets, by the side of the models' input in pixels."""

PrecisionWord = Literal["auto", "float32", "bfloat16"]
DecodeWord = Literal["exact", "fast"]
