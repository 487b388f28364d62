"""State of this worker process: settings, heartbeat, shutdown and open resources."""

from contextlib import ExitStack
from uuid import UUID

import structlog

from fakesweep.schema.settings import Settings
from fakesweep.schema.telemetry.heartbeat import Heartbeat
from fakesweep.workers.broker.dead_letters import DeadLetters
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.process.shutdown import Shutdown

log = structlog.get_logger(__name__)


class Process:
    """Settings and open resources of this worker process; a singleton like Celery's app."""

    settings: Settings
    worker_id: UUID
    only_scan_id: int | None = None
    heartbeat: Heartbeat
    shutdown: Shutdown
    dead_letters: DeadLetters
    work: Work | None = None
    exit_status = 0
    resources = ExitStack()


process = Process()
