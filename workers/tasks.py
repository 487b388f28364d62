"""Celery tasks: decode the message and run the pipeline on its batch."""

from typing import Any

import structlog
from celery import signals
from structlog.contextvars import bind_contextvars, clear_contextvars

from fakesweep.schema.errors import DeviceError, LoadersError
from fakesweep.schema.message import read_message
from fakesweep.schema.queues import CLASSIFY_BATCH
from fakesweep.workers.app import app, current_work, end_as_broken
from fakesweep.workers.pipeline.batch import run_batch

log = structlog.get_logger(__name__)


@app.task(name=CLASSIFY_BATCH)
def classify_batch(body: object) -> None:
    """Finish one batch; Celery acknowledges the message when this returns."""
    message = read_message(body)  # the consumer has diverted malformed messages
    try:
        run_batch(message, current_work())
    except (DeviceError, LoadersError) as error:
        log.critical("worker_broken", reason=str(error))
        end_as_broken()


@signals.task_prerun.connect
def _bind(task_id: str, args: Any, **_: Any) -> None:
    """Add the task, scan and batch ids to each log line of a running task, Celery's included."""
    bind_contextvars(task_id=task_id, scan_id=args[0]["scan_id"], batch_id=args[0]["batch_id"])


@signals.task_postrun.connect
def _unbind(**_: Any) -> None:
    clear_contextvars()
