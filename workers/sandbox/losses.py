"""Blame for lost loaders: which image fails, and which images are tried again.

| loader lost while it decoded an image | image |
|---|---|
| processor time used up, or busy beyond the wall-clock limit | fails at once |
| idle beyond the wall-clock limit, crashed, or invalid answer | fails at the second loss, alone |
| killed, as on a machine without memory | fails after repeated losses, alone |

A loader lost during a fetch blames no image: the chunk is fetched again, then each image alone.
An image that loses its loader even alone fails to be fetched.
"""

import signal
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum, auto

from fakesweep.schema.failures import (
    CorruptImage,
    DecodeTimedOut,
    FetchTimedOut,
    ImageFailure,
    LoaderKilled,
    SourceUnavailable,
)
from fakesweep.schema.message import BatchImage

POSITION = struct.Struct("=q")
"""Shared record of the image number that a loader decodes."""

KILLED_PAUSES_SECONDS = (1.0, 5.0, 15.0)
"""Pauses before each retry of an image, alone, after its loader was killed."""

_FETCHES_TOGETHER = 2


class Cause(Enum):
    """Cause of a loader's loss."""

    PROCESSOR_TIME = auto()
    BUSY = auto()
    STANDING_STILL = auto()
    KILLED = auto()
    BROKEN = auto()


class LoaderLost(Exception):  # noqa: N818 - says what happened
    """The loader died or did not answer in time; the message says which.

    `number` is the chunk's image that it decoded, None during a fetch.
    """

    def __init__(self, said: str, cause: Cause = Cause.BROKEN) -> None:
        super().__init__(said)
        self.cause = cause
        self.number: int | None = None


def cause_of_end(status: int) -> Cause:
    """Return the cause of an exit status in `subprocess`' form."""
    match -status:
        case signal.SIGXCPU:
            return Cause.PROCESSOR_TIME
        case signal.SIGKILL | signal.SIGTERM:
            return Cause.KILLED
        case _:
            return Cause.BROKEN


class Trials:
    """Retry state of one chunk's images; used by one thread."""

    def __init__(self) -> None:
        self._losses: Counter[BatchImage] = Counter()
        self._fetches_lost = 0
        self.pause_seconds = 0.0

    def next(self, left: Sequence[BatchImage]) -> Sequence[BatchImage]:
        """Return the images to try together next, after `pause_seconds`."""
        together = [image for image in left if not self._losses[image]]
        if together:
            self.pause_seconds = 0.0
        return together or left[:1]

    def blame(
        self, lost: LoaderLost, tried: Sequence[BatchImage], left: Iterable[BatchImage]
    ) -> tuple[BatchImage, ImageFailure] | None:
        """Record a loss; return the failed image and its failure, or None.

        `tried` is the loader's chunk, `left` its unfinished images.
        """
        if lost.number is not None:
            image = tried[lost.number]
        elif len(tried) == 1:
            image = tried[0]
        else:
            self._fetches_lost += 1
            if self._fetches_lost == _FETCHES_TOGETHER:
                self._losses.update(left)
            return None
        self._losses[image] += 1
        losses = self._losses[image]
        failure = _failed_to_decode(lost, losses)
        if lost.number is None:
            failure = _failed_to_fetch(lost, losses)
        if failure is not None:
            return image, failure
        is_killed = lost.cause is Cause.KILLED
        self.pause_seconds = KILLED_PAUSES_SECONDS[losses - 1] if is_killed else 0.0
        return None


def _failed_to_decode(lost: LoaderLost, losses: int) -> ImageFailure | None:
    match lost.cause:
        case Cause.PROCESSOR_TIME | Cause.BUSY:
            return DecodeTimedOut(f"it takes too long to decode: {lost}")
        case Cause.STANDING_STILL if losses > 1:
            return DecodeTimedOut(f"decoding it never ends: {lost}")
        case Cause.BROKEN if losses > 1:
            return CorruptImage(f"it broke the process that decoded it: {lost}")
        case Cause.KILLED if losses > len(KILLED_PAUSES_SECONDS):
            return LoaderKilled(
                f"the process that decoded it was killed {losses} times ({lost}), as a machine "
                f"without memory left does; run it again where there is more"
            )
        case _:
            return None


def _failed_to_fetch(lost: LoaderLost, losses: int) -> ImageFailure | None:
    if lost.cause is Cause.KILLED:
        if losses <= len(KILLED_PAUSES_SECONDS):
            return None
        return LoaderKilled(f"the process that fetched it was killed {losses} times ({lost})")
    if losses <= _FETCHES_TOGETHER:
        return None
    reason = f"the process that fetched it was lost each time: {lost}"
    is_late = lost.cause in (Cause.BUSY, Cause.STANDING_STILL)
    return FetchTimedOut(reason) if is_late else SourceUnavailable(reason)
