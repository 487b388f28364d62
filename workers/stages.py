"""Where a worker's time goes: how many batches are in each stage on average, and the wall."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

import structlog

REPORT_SECONDS = 10.0
log = structlog.get_logger(__name__)


class Stage(StrEnum):
    """The stages of a chunk of images, in order; `device` includes the wait for it."""

    FETCH = "fetch"
    LOOK_UP = "look_up"
    DECODE = "decode"
    DEVICE = "device"
    STORE = "store"


class Stages:
    """Counts seconds and images by stage, for all batches in flight together."""

    def __init__(self, device_seconds: Callable[[], float]) -> None:
        self._device_seconds = device_seconds
        self._lock = threading.Lock()
        self._seconds: defaultdict[Stage, float] = defaultdict(float)
        self._images: Counter[Stage] = Counter()
        self._since = time.monotonic()
        self._device_since = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._report, name="stages", daemon=True)

    @contextmanager
    def timed(self, stage: Stage, images: int) -> Iterator[None]:
        """Count what happens in the context towards a stage."""
        started = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - started
            with self._lock:
                self._seconds[stage] += seconds
                self._images[stage] += images

    @contextmanager
    def running(self) -> Iterator["Stages"]:
        """Write a line every `REPORT_SECONDS` while there is work, and a last one at the end."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()
            self._write()

    def _report(self) -> None:
        while not self._stop.wait(REPORT_SECONDS):
            self._write()

    def _write(self) -> None:
        with self._lock:
            seconds, self._seconds = self._seconds, defaultdict(float)
            images, self._images = self._images, Counter()
        now, device = time.monotonic(), self._device_seconds()
        passed = now - self._since
        busy = (device - self._device_since) / passed
        self._since, self._device_since = now, device
        if not images:
            return
        log.info(
            "stages",
            images_per_second=round(images[Stage.FETCH] / passed, 1),
            device_busy=round(busy, 3),
            batches={stage.value: round(seconds[stage] / passed, 2) for stage in Stage},
            wall=max(Stage, key=lambda stage: seconds[stage]).value,
        )
