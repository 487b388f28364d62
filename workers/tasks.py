"""The tasks: each decodes its message and hands it to the pipeline."""

import os
import signal

import structlog

from schema.errors import DeviceError, LoadersError
from schema.message import UnreadableMessage, read_message
from schema.queues import CLASSIFY_BATCH
from workers.app import app, current_work
from workers.pipeline import run_batch

log = structlog.get_logger(__name__)


@app.task(name=CLASSIFY_BATCH)
def classify_batch(body: object) -> None:
    """Bring one batch to its end; Celery acknowledges the message when this returns."""
    try:
        message = read_message(body)
    except UnreadableMessage as error:
        log.error("message_unreadable", reason=str(error), body=repr(body)[:500])
        return
    try:
        run_batch(message, current_work())
    except (DeviceError, LoadersError) as error:
        log.critical("worker_broken", reason=str(error), batch_id=message.batch_id)
        os.kill(os.getpid(), signal.SIGTERM)  # whoever supervises this worker starts a new one
