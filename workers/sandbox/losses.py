"""What the loss of a loader means for the images it had: who is to blame, what is tried again.

| lost while it decoded an image | and then |
|---|---|
| it used up the image's processor time, or was at it by the clock | the image fails at once |
| it stood still by the clock, crashed, or said nonsense | at the second time, alone, it fails |
| it was killed, which a machine without memory does | it fails when that goes on, alone |

What is lost while it fetched is no verdict about bytes: all of it is fetched again, then each image
alone, and what loses its loader even then could not be fetched.
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

PLACE = struct.Struct("=q")
"""Which image of its chunk a loader decodes: it notes that where a worker can read it."""

KILLED_PAUSES_SECONDS = (1.0, 5.0, 15.0)
"""Before each time that an image is tried alone after its loader was killed."""

_FETCHES_TOGETHER = 2


class Cause(Enum):
    """How a loader was lost."""

    PROCESSOR_TIME = auto()
    BUSY = auto()
    STANDING_STILL = auto()
    KILLED = auto()
    BROKEN = auto()


class LoaderLost(Exception):  # noqa: N818 - says what happened
    """The loader died, or did not answer in time; the message says which.

    `number` is the image of the chunk that it decoded, None while it fetched.
    """

    def __init__(self, said: str, cause: Cause = Cause.BROKEN) -> None:
        super().__init__(said)
        self.cause = cause
        self.number: int | None = None


def cause_of_end(status: int) -> Cause:
    """Return the cause that an exit status, as `subprocess` gives it, tells of."""
    match -status:
        case signal.SIGXCPU:
            return Cause.PROCESSOR_TIME
        case signal.SIGKILL | signal.SIGTERM:
            return Cause.KILLED
        case _:
            return Cause.BROKEN


class Trials:
    """How the images of one chunk were tried so far; used by one thread."""

    def __init__(self) -> None:
        self._losses: Counter[BatchImage] = Counter()
        self._fetches_lost = 0
        self.pause_seconds = 0.0

    def next(self, left: Sequence[BatchImage]) -> Sequence[BatchImage]:
        """Return which of the images that are left to try together now, after `pause_seconds`."""
        together = [image for image in left if not self._losses[image]]
        if together:
            self.pause_seconds = 0.0
        return together or left[:1]

    def blame(
        self, lost: LoaderLost, tried: Sequence[BatchImage], left: Iterable[BatchImage]
    ) -> tuple[BatchImage, ImageFailure] | None:
        """Note a loss, and return the image that fails by it, where one does.

        `tried` is the chunk that the loader had, `left` what of it has no end yet.
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
