"""Event listener: records uploads from S3 events in an SQS queue, then deletes the messages."""

import threading
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from fakesweep.producer.backoff import Backoff
from fakesweep.producer.resources import Producer
from fakesweep.producer.uploads.s3_events import ParsedEvents, read_events
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
    prepare_submission,
    record_together,
    store_policy,
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


class ReadMessage(NamedTuple):
    """SQS message and its parsed events."""

    message: Message
    events: ParsedEvents


def listen(producer: Producer, url: str, stop: threading.Event) -> None:
    """Record the uploads of a queue's events until `stop` is set.

    A message is deleted once its images are committed; a duplicate adds nothing. An unreadable
    event becomes a dead letter. Outages of SQS and the ledger are waited out; the producer's
    service publishes the batches.

    Raises:
        SourceError: the queue does not exist, or may not be read.
        CatalogueError: a model of the settings is unknown.
    """
    queue = read_queue(url, producer.settings)
    stream = stream_of(producer, f"events:{queue.name}", Lane.LIVE)
    backoff, held, is_ready = Backoff(stop), list[ReadMessage](), False
    with closing(open_client(queue, producer.settings)) as client:
        while not stop.is_set():
            try:
                if not is_ready:
                    queue = found(client, queue)
                    store_policy(producer, stream)
                    is_ready = True
                    log.info("listening", queue=queue.name, models=stream.model_keys)
                held = held or [
                    ReadMessage(message, read_events(message.body, producer.settings))
                    for message in received(client, queue, producer.settings.batch_images)
                ]
                _record(producer, stream, queue, held)
                done, held = [read.message for read in held], []
                delete(client, queue, done)
                backoff.is_over()
            except SqsAway as error:
                backoff.wait("sqs", str(error))
            except SQLAlchemyError as error:
                backoff.wait_for_ledger(error)


def _record(producer: Producer, stream: Stream, queue: Queue, held: Sequence[ReadMessage]) -> None:
    """Record uploads and dead letters in one transaction; split it where the ledger refuses it."""
    if not held:
        return
    try:
        with producer.engine.begin() as connection:
            _record_in(connection, producer, stream, queue, held)
    except SQLAlchemyError as error:
        if may_pass(error):
            raise
        if len(held) > 1:
            for message in held:
                _record(producer, stream, queue, [message])
            return
        reason = f"the ledger refuses it: {first_line(error)}"
        with producer.engine.begin() as connection:
            _set_aside(connection, queue, held[0], reason)
        return
    producer.recorded.set()
    for message in held:
        if message.events.is_test:
            log.info("test_event_received", queue=queue.name)


def _record_in(
    connection: Connection,
    producer: Producer,
    stream: Stream,
    queue: Queue,
    held: Sequence[ReadMessage],
) -> None:
    uploads = [upload for message in held for upload in message.events.uploads]
    if uploads:
        together = [prepare_submission(uploads, None, ())]
        record_together(connection, stream, together, producer.settings.batch_images)
    for message in held:
        if message.events.faults:
            _set_aside(connection, queue, message, "; ".join(message.events.faults))
    passed_over = sum(message.events.passed_over for message in held)
    log.debug(
        "events_read", queue=queue.name, messages=len(held), uploads=len(uploads),
        passed_over=passed_over,
    )  # fmt: skip


def _set_aside(connection: Connection, queue: Queue, message: ReadMessage, reason: str) -> None:
    reason = one_line(reason, MAX_REASON_CHARACTERS)
    body = message.message.body[:MAX_BODY_CHARACTERS]
    record_unreadable(connection, DeadLetter(queue.name, reason, body))
    log.warning("event_set_aside", queue=queue.name, reason=reason)
