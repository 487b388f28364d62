"""What a worker says of itself in its pulse: does it look for work, and does its work move?"""

import math
import time
from collections.abc import Callable

from fakesweep.schema.settings import Settings
from fakesweep.schema.telemetry.heartbeat import Heartbeat
from fakesweep.schema.telemetry.throughput import Stage
from fakesweep.schema.words import Role
from fakesweep.workers.pipeline.chunk import CHUNK_IMAGES
from fakesweep.workers.pipeline.resources import Work

SLACK_SECONDS = 60.0


def worker_heartbeat(settings: Settings) -> Heartbeat:
    """Return the pulse of this worker process.

    Storage that stalls is not the worker's fault: between two steps there may be a chunk of images
    that all use up their time, and a call of the device.
    """
    batch_lock = math.ceil(CHUNK_IMAGES / settings.fetch_concurrency)
    fetch_seconds = batch_lock * settings.fetch_deadline_seconds
    return Heartbeat(
        Role.WORKER,
        step_seconds=fetch_seconds + settings.device_timeout_seconds + SLACK_SECONDS,
        grace_seconds=settings.grace_seconds,
    )


def look_at(current_work: Callable[[], Work | None]) -> Callable[[Heartbeat], None]:
    """Return what brings a pulse up to date with the work, which is None before and after it."""
    before: object = None

    def look(heartbeat: Heartbeat) -> None:
        nonlocal before
        work = current_work()
        if work is None:
            return
        counts = work.stages.counts().stages
        now = (work.leases.held, *(counts[stage].images for stage in Stage))
        if now != before:
            heartbeat.moved_at, before = time.monotonic(), now
        heartbeat.in_flight = work.leases.held
        heartbeat.ledger_away_since = work.ledger_retry.away_since

    return look
