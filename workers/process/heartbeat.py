"""Heartbeat of a worker: whether it polls for work, and whether its work makes progress."""

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
    """Return the heartbeat of this worker process.

    A step may last as long as a chunk of images that all meet their fetch deadline, plus one
    device call: stalled storage must not make a healthy worker look stuck.
    """
    batch_lock = math.ceil(CHUNK_IMAGES / settings.fetch_concurrency)
    fetch_seconds = batch_lock * settings.fetch_deadline_seconds
    return Heartbeat(
        Role.WORKER,
        step_seconds=fetch_seconds + settings.device_timeout_seconds + SLACK_SECONDS,
        grace_seconds=settings.grace_seconds,
    )


def look_at(current_work: Callable[[], Work | None]) -> Callable[[Heartbeat], None]:
    """Return a function that updates a heartbeat from the work; none is open before and after."""
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
