"""Throughput of a worker by stage, reported to the log every ten seconds and to the ledger."""

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from fakesweep.schema.telemetry.throughput import Counts, Stage, StageCounts, StageReport, report

__all__ = ["Stage", "Stages"]

REPORT_SECONDS = 10.0
"""Interval of the log's reports, and window of the ledger's."""

WRITE_SECONDS = 1.0
"""Shortest interval of the ledger's reports; the end of work is reported at the next look."""

LOOK_SECONDS = 0.25

log = structlog.get_logger(__name__)


class Stages:
    """Counts seconds, images and waits by stage, over all batches in flight.

    `loaders` and `batches` are their numbers at once; `device_seconds` returns the device's busy
    seconds, including the running call. `write` gets a report of the last ten seconds and the
    counts since the start; a failed write is logged and retried after a second.
    """

    def __init__(
        self,
        loaders: int,
        batches: int,
        device_seconds: Callable[[], float],
        write: Callable[[StageReport, Counts], None] | None = None,
    ) -> None:
        self._places = dict.fromkeys(Stage, loaders) | {Stage.DEVICE: 1, Stage.STORE: batches}
        self._device_seconds = device_seconds
        self._write = write
        self._lock = threading.Lock()
        self._open = Counter(dict.fromkeys(Stage, 0))
        self._seconds: defaultdict[Stage, float] = defaultdict(float)
        self._images: Counter[Stage] = Counter()
        self._waits: Counter[Stage] = Counter()
        self._wait_seconds: defaultdict[Stage, float] = defaultdict(float)
        self._started = time.monotonic()
        self._device_before = device_seconds()
        self._samples = deque([self.counts()])
        self._logged = self._written = self._samples[0]
        self._wrote_work = False
        self._is_failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stages", daemon=True)

    @contextmanager
    def timed(self, stage: Stage, images: int) -> Iterator[None]:
        """Count the context's time and images towards a stage.

        The busy time of `Stage.DEVICE` comes from `device_seconds`; only its images count here.
        """
        self._move(stage, 1)
        try:
            yield
        finally:
            self._move(stage, -1)
            with self._lock:
                self._images[stage] += images

    def waited(self, stage: Stage, seconds: float) -> None:
        """Count a chunk's wait before a stage: for a loader, or in the device's queue."""
        with self._lock:
            self._waits[stage] += 1
            self._wait_seconds[stage] += seconds

    @contextmanager
    def running(self) -> Iterator["Stages"]:
        """Report to log and ledger for the context, and once at its end."""
        self._tell(self._written)
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()
            now = self.counts()
            self._log(now)
            self._tell(now)

    def counts(self) -> Counts:
        """Return the counts since the start, with running work up to now."""
        device_seconds = self._device_seconds() - self._device_before
        with self._lock:
            now = time.monotonic()
            passed = now - self._started
            busy = {stage: self._seconds[stage] + self._open[stage] * now for stage in Stage}
            busy[Stage.DEVICE] = device_seconds
            return Counts(
                passed,
                {
                    stage: StageCounts(
                        self._images[stage],
                        busy[stage],
                        self._places[stage] * passed,
                        self._waits[stage],
                        self._wait_seconds[stage],
                    )
                    for stage in Stage
                },
            )

    def _move(self, stage: Stage, change: int) -> None:
        """Enter or leave a stage: subtracts the time of entry, adds the time of exit."""
        with self._lock:
            self._open[stage] += change
            self._seconds[stage] -= change * time.monotonic()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            now = self.counts()
            self._remember(now)
            if now.seconds - self._logged.seconds >= REPORT_SECONDS:
                self._log(now)
            if self._is_due(now):
                self._tell(now)

    def _is_due(self, now: Counts) -> bool:
        """Whether a report to the ledger is due: when work ends, else each second."""
        since_written = now - self._written
        if since_written.seconds < WRITE_SECONDS:
            return since_written.shows_work and self._is_idle
        return since_written.shows_work or self._wrote_work or not self._is_idle

    @property
    def _is_idle(self) -> bool:
        return not any(self._open.values())

    def _remember(self, now: Counts) -> None:
        """Keep a sample of each second, back to the start of the report's window."""
        samples = self._samples
        if now.seconds - samples[-1].seconds >= WRITE_SECONDS:
            samples.append(now)
        while len(samples) > 1 and now.seconds - samples[1].seconds >= REPORT_SECONDS:
            samples.popleft()

    def _log(self, now: Counts) -> None:
        since_logged, self._logged = now - self._logged, now
        if self._is_idle and not since_logged.shows_work:
            return
        said = report(since_logged)
        log.info(
            "stages",
            bottleneck=said.bottleneck.value,
            wall=said.bottleneck.value,
            images_per_second={
                stage.value: share.images_per_second for stage, share in said.stages.items()
            },
            busy_percent={stage.value: round(100 * one.busy) for stage, one in said.stages.items()},
            wait_seconds={
                stage.value: share.wait_seconds
                for stage, share in said.stages.items()
                if share.wait_seconds is not None
            },
        )

    def _tell(self, now: Counts) -> None:
        if self._write is None:
            return
        lately, self._written = now - self._samples[0], now
        self._wrote_work = lately.shows_work
        try:
            self._write(report(lately), now)
        except Exception as error:  # noqa: BLE001 - reports must never end the work
            if not self._is_failing:
                log.warning("stages_not_recorded", reason=" ".join(str(error).split()))
            self._is_failing = True
        else:
            self._is_failing = False
