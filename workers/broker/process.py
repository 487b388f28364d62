"""The state of this worker process: settings, heartbeat, shutdown and the opened resources."""

from contextlib import ExitStack
from uuid import UUID

import structlog

from fakesweep.schema.settings import Settings
from fakesweep.schema.telemetry.heartbeat import Pulse
from fakesweep.workers.broker.dead_letters import Strays
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.process.shutdown import Leaving

log = structlog.get_logger(__name__)


class Process:
    """What this worker process runs by and works with; there is one, as Celery has one app."""

    settings: Settings
    worker_id: UUID
    only_scan_id: int | None = None
    pulse: Pulse
    leaving: Leaving
    strays: Strays
    work: Work | None = None
    exit_status = 0
    resources = ExitStack()


process = Process()
