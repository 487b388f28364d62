"""What a worker says of itself in its pulse: does it look for work, and does its work move?"""

import math
import time
from collections.abc import Callable

from fakesweep.schema.settings import Settings
from fakesweep.schema.telemetry.heartbeat import Pulse
from fakesweep.schema.telemetry.throughput import Stage
from fakesweep.schema.words import Role
from fakesweep.workers.pipeline.chunk import CHUNK_IMAGES
from fakesweep.workers.pipeline.resources import Work

SLACK_SECONDS = 60.0


def worker_pulse(settings: Settings) -> Pulse:
    """Return the pulse of this worker process.

    Storage that stalls is not the worker's fault: between two steps there may be a chunk of images
    that all use up their time, and a call of the device.
    """
    turns = math.ceil(CHUNK_IMAGES / settings.fetch_concurrency)
    fetch_seconds = turns * settings.fetch_deadline_seconds
    return Pulse(
        Role.WORKER,
        step_seconds=fetch_seconds + settings.device_timeout_seconds + SLACK_SECONDS,
        grace_seconds=settings.grace_seconds,
    )


def look_at(current_work: Callable[[], Work | None]) -> Callable[[Pulse], None]:
    """Return what brings a pulse up to date with the work, which is None before and after it."""
    before: object = None

    def look(pulse: Pulse) -> None:
        nonlocal before
        work = current_work()
        if work is None:
            return
        counts = work.stages.counts().stages
        now = (work.leases.held, *(counts[stage].images for stage in Stage))
        if now != before:
            pulse.moved_at, before = time.monotonic(), now
        pulse.in_flight = work.leases.held
        pulse.ledger_away_since = work.patience.away_since

    return look
