"""The tasks: each decodes its message and hands it to the pipeline."""

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
    """Bring one batch to its end; Celery acknowledges the message when this returns."""
    message = read_message(body)  # what cannot be read was put aside before
    try:
        run_batch(message, current_work())
    except (DeviceError, LoadersError) as error:
        log.critical("worker_broken", reason=str(error))
        end_as_broken()


@signals.task_prerun.connect
def _bind(task_id: str, args: Any, **_: Any) -> None:
    """Let everything that is logged while a task runs, by Celery too, say which batch it is of."""
    bind_contextvars(task_id=task_id, scan_id=args[0]["scan_id"], batch_id=args[0]["batch_id"])


@signals.task_postrun.connect
def _unbind(**_: Any) -> None:
    clear_contextvars()
