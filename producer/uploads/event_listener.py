"""Uploads as S3 tells of them: events from a queue of SQS, recorded before they are deleted."""

import threading
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from fakesweep.producer.backoff import Backoff
from fakesweep.producer.resources import Producer
from fakesweep.producer.uploads.s3_events import Told, read_events
from fakesweep.producer.uploads.sqs import (
    Message,
    Queue,
    SqsAway,
    delete,
    found,
    open_client,
    read_queue,
    received,
)
from fakesweep.producer.uploads.submissions import (
    read_submission,
    record_together,
    settle_policy,
    stream_of,
)
from fakesweep.schema.ledger.connection import first_line, may_pass
from fakesweep.schema.ledger.dead_letters import MAX_BODY_CHARACTERS, DeadLetter, record_unreadable
from fakesweep.schema.ledger.uploads import Stream
from fakesweep.schema.net.storage import one_line
from fakesweep.schema.words import Lane

__all__ = ["listen", "read_queue"]

MAX_REASON_CHARACTERS = 1_000

log = structlog.get_logger(__name__)


class Heard(NamedTuple):
    """A message as it was received, and what it says."""

    message: Message
    told: Told


def listen(producer: Producer, url: str, stop: threading.Event) -> None:
    """Record what the events in a queue tell of, until `stop` is set.

    A message is deleted once its images are committed: one that comes again adds nothing. What
    cannot be read is set aside in the ledger. SQS and the ledger are waited for; publishing is left
    to the service beside it.

    Raises:
        SourceError: the queue is not there, or may not be read.
        CatalogueError: a model of the settings is not known.
    """
    queue = read_queue(url, producer.settings)
    stream = stream_of(producer, f"events:{queue.name}", Lane.LIVE)
    waiting, held, is_settled = Backoff(stop), list[Heard](), False
    with closing(open_client(queue, producer.settings)) as client:
        while not stop.is_set():
            try:
                if not is_settled:
                    queue = found(client, queue)
                    settle_policy(producer, stream)
                    is_settled = True
                    log.info("listening", queue=queue.name, models=stream.model_keys)
                held = held or [
                    Heard(message, read_events(message.body, producer.settings))
                    for message in received(client, queue, producer.settings.batch_images)
                ]
                _record(producer, stream, queue, held)
                done, held = [heard.message for heard in held], []
                delete(client, queue, done)
                waiting.is_over()
            except SqsAway as error:
                waiting.wait("sqs", str(error))
            except SQLAlchemyError as error:
                waiting.wait_for_ledger(error)


def _record(producer: Producer, stream: Stream, queue: Queue, held: Sequence[Heard]) -> None:
    """Record uploads and set aside what is none, in one transaction; none spoils another."""
    if not held:
        return
    try:
        with producer.engine.begin() as connection:
            _record_in(connection, producer, stream, queue, held)
    except SQLAlchemyError as error:
        if may_pass(error):
            raise
        if len(held) > 1:
            for heard in held:
                _record(producer, stream, queue, [heard])
            return
        reason = f"the ledger refuses it: {first_line(error)}"
        with producer.engine.begin() as connection:
            _set_aside(connection, queue, held[0], reason)
        return
    producer.recorded.set()
    for heard in held:
        if heard.told.is_test:
            log.info("test_event_received", queue=queue.name)


def _record_in(
    connection: Connection,
    producer: Producer,
    stream: Stream,
    queue: Queue,
    held: Sequence[Heard],
) -> None:
    uploads = [upload for heard in held for upload in heard.told.uploads]
    if uploads:
        together = [read_submission(uploads, None, ())]
        record_together(connection, stream, together, producer.settings.batch_images)
    for heard in held:
        if heard.told.faults:
            _set_aside(connection, queue, heard, "; ".join(heard.told.faults))
    passed_over = sum(heard.told.passed_over for heard in held)
    log.debug(
        "events_read", queue=queue.name, messages=len(held), uploads=len(uploads),
        passed_over=passed_over,
    )  # fmt: skip


def _set_aside(connection: Connection, queue: Queue, heard: Heard, reason: str) -> None:
    reason = one_line(reason, MAX_REASON_CHARACTERS)
    body = heard.message.body[:MAX_BODY_CHARACTERS]
    record_unreadable(connection, DeadLetter(queue.name, reason, body))
    log.warning("event_set_aside", queue=queue.name, reason=reason)
