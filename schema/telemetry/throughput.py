"""Throughput of a worker's stages: counts, rates, busy shares, waits and the bottleneck."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass
from enum import StrEnum
from typing import Any

BUSY_SHARE = 0.5
"""Least busy share of a bottleneck."""

WAITING_CHUNKS = 1.0
"""Chunks that wait on average for a bottleneck below that share."""


class Stage(StrEnum):
    """The stages of a chunk of images, in order."""

    FETCH = "fetch"
    LOOK_UP = "look_up"
    DECODE = "decode"
    DEVICE = "device"
    STORE = "store"


class Bottleneck(StrEnum):
    """The limit of a worker's rate: a stage, or the queue where it waits for batches."""

    FETCH = "fetch"
    LOOK_UP = "look_up"
    DECODE = "decode"
    DEVICE = "device"
    STORE = "store"
    QUEUE = "queue"


LOADING = (Stage.FETCH, Stage.LOOK_UP, Stage.DECODE)
"""The stages of a loader process, which runs them in sequence."""


@dataclass(frozen=True, slots=True)
class StageCounts:
    """The counts of one stage; they can be added and subtracted.

    `capacity_seconds` is the time for which the stage could have been busy. `waits` counts the
    chunks that waited before the stage, `wait_seconds` is the sum of their waits.
    """

    images: int = 0
    busy_seconds: float = 0.0
    capacity_seconds: float = 0.0
    waits: int = 0
    wait_seconds: float = 0.0

    def __add__(self, other: "StageCounts") -> "StageCounts":
        return StageCounts(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: "StageCounts") -> "StageCounts":
        pairs = zip(astuple(self), astuple(other), strict=True)
        return StageCounts(*(mine - theirs for mine, theirs in pairs))

    @property
    def busy(self) -> float:
        """The busy share of its capacity."""
        return self.busy_seconds / self.capacity_seconds if self.capacity_seconds else 0.0


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of every stage over some seconds."""

    seconds: float
    stages: Mapping[Stage, StageCounts]

    def __sub__(self, earlier: "Counts") -> "Counts":
        return Counts(
            self.seconds - earlier.seconds,
            {stage: self.stages[stage] - earlier.stages[stage] for stage in Stage},
        )

    @property
    def shows_work(self) -> bool:
        """Whether any stage worked."""
        return any(one.images or one.busy_seconds or one.waits for one in self.stages.values())

    def within(self, seconds: float) -> "Counts":
        """Return the counts over the last `seconds`, for a worker that was idle before."""
        seconds = max(0.0, seconds)
        if self.seconds <= seconds:
            return self
        left_out = 1 - seconds / self.seconds
        return Counts(
            seconds,
            {
                stage: one - StageCounts(capacity_seconds=one.capacity_seconds * left_out)
                for stage, one in self.stages.items()
            },
        )

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form that `counts_of` reads."""
        return {
            "seconds": round(self.seconds, 3),
            "stages": {stage.value: _rounded(asdict(one)) for stage, one in self.stages.items()},
        }


@dataclass(frozen=True, slots=True)
class StageShare:
    """The rate and busy share of one stage over some seconds.

    `wait_seconds` is the average wait of a chunk before the stage, None where none waited.
    """

    images_per_second: float
    busy: float
    wait_seconds: float | None


@dataclass(frozen=True, slots=True)
class StageReport:
    """Every stage over some seconds; `images_per_second` is the rate of fetching."""

    seconds: float
    images_per_second: float
    bottleneck: Bottleneck
    stages: Mapping[Stage, StageShare]

    def as_json(self) -> dict[str, Any]:
        """Return the report as one JSON object; `wall` is the bottleneck's former name."""
        return asdict(self) | {"wall": self.bottleneck}


def counts_of(written: Mapping[str, Any]) -> Counts:
    """Parse the JSON form of `Counts.as_json`."""
    stages = {stage: StageCounts(**written["stages"][stage.value]) for stage in Stage}
    return Counts(written["seconds"], stages)


def shares_of(written: Mapping[str, Any]) -> dict[Stage, StageShare]:
    """Parse the stages in the JSON form of `StageReport.as_json`."""
    return {stage: StageShare(**written[stage.value]) for stage in Stage}


def added_up(counts: Iterable[Counts]) -> Counts:
    """Return the sum of several workers' counts, over the longest of their times."""
    seconds = 0.0
    stages = dict.fromkeys(Stage, StageCounts())
    for one in counts:
        seconds = max(seconds, one.seconds)
        stages = {stage: stages[stage] + one.stages[stage] for stage in Stage}
    return Counts(seconds, stages)


def report(counts: Counts) -> StageReport:
    """Return the report of some counts."""
    shares = {
        stage: StageShare(
            images_per_second=round(one.images / counts.seconds, 1) if counts.seconds else 0.0,
            busy=round(min(1.0, one.busy), 3),
            wait_seconds=round(one.wait_seconds / one.waits, 3) if one.waits else None,
        )
        for stage, one in counts.stages.items()
    }
    return StageReport(
        round(counts.seconds, 1),
        shares[Stage.FETCH].images_per_second,
        bottleneck_of(counts),
        shares,
    )


def bottleneck_of(counts: Counts) -> Bottleneck:
    """Return the bottleneck: the busiest resource, at half its capacity or more.

    Resources are the loaders (named by the longest of their stages), the device and the store.
    Below that share it is the one for which at least one chunk waits on average, else the queue.
    """
    stages = counts.stages
    loading = max(LOADING, key=lambda stage: stages[stage].busy_seconds)
    used = {
        loading: sum(stages[stage].busy for stage in LOADING),
        Stage.DEVICE: stages[Stage.DEVICE].busy,
        Stage.STORE: stages[Stage.STORE].busy,
    }
    most_used = max(used, key=lambda stage: used[stage])
    if used[most_used] >= BUSY_SHARE:
        return Bottleneck(most_used)
    waited = {
        loading: stages[Stage.FETCH].wait_seconds,
        Stage.DEVICE: stages[Stage.DEVICE].wait_seconds,
    }
    awaited = max(waited, key=lambda stage: waited[stage])
    worker_seconds = stages[Stage.DEVICE].capacity_seconds  # a worker has one device
    if waited[awaited] and waited[awaited] >= WAITING_CHUNKS * worker_seconds:
        return Bottleneck(awaited)
    return Bottleneck.QUEUE


def _rounded(counts: Mapping[str, float]) -> dict[str, float]:
    return {name: round(count, 3) for name, count in counts.items()}
