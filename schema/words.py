"""The closed sets of words that code, tables, logs and documents share."""

from enum import StrEnum


class Lane(StrEnum):
    """How urgent a batch is; workers take `live` before `bulk`."""

    LIVE = "live"
    BULK = "bulk"


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


class BatchState(StrEnum):
    """Where a batch stands: recorded → published → running → done."""

    RECORDED = "recorded"
    PUBLISHED = "published"
    RUNNING = "running"
    DONE = "done"


class ScanState(StrEnum):
    """Where a scan stands; derived in the `scan_progress` view, never stored."""

    LISTING = "listing"
    RUNNING = "running"
    FINISHED = "finished"
