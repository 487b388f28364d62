"""The duty of delivering: take what is due, have it sent, note what came of it, forget the old."""

import threading
import time
from collections.abc import Sequence
from functools import partial
from uuid import uuid4

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from urllib3 import PoolManager

from fakesweep.producer.backoff import Backoff
from fakesweep.producer.resources import Producer
from fakesweep.producer.webhooks.payload import body_of, message_id
from fakesweep.producer.webhooks.request import ReceiverAnswer, open_receivers, send
from fakesweep.producer.webhooks.retry_schedule import RETRY_SCHEDULE, RetrySchedule
from fakesweep.producer.webhooks.sender_threads import Attempt, Senders
from fakesweep.schema.ledger.connection import first_line
from fakesweep.schema.ledger.savepoints import apart
from fakesweep.schema.ledger.webhooks.deliveries import (
    Delivery,
    Failed,
    forget_delivered,
    pause_gone,
    record_delivered,
    record_failed,
    take_due,
    tell_events,
)

FORGET_AFTER_DAYS = 30.0
FORGET_EVERY_SECONDS = 3_600.0

_FORGOTTEN = ReceiverAnswer(None, "its image was forgotten, so there is nothing to tell")

log = structlog.get_logger(__name__)


def deliver_webhooks(
    producer: Producer, stop: threading.Event, pace: RetrySchedule = RETRY_SCHEDULE
) -> None:
    """Deliver what is due until `stop` is set; a ledger that stops answering is waited for.

    Several producers share the work. What one that died had in hand is due again when its lease
    runs out, so a receiver may be told a thing twice, under the same `webhook-id`.

    Raises:
        SQLAlchemyError: the ledger refuses for good.
    """
    engine, waiting = producer.engine, Backoff(stop)
    unrecorded: list[Attempt] = []
    next_forgetting = 0.0
    with open_receivers(producer.settings, pace.timeout_seconds, pace.at_once) as pool:
        senders = Senders(partial(_tell, pool), pace)
        while not stop.is_set():
            unrecorded += senders.collect()
            try:
                due = _exchange(engine, senders, unrecorded, pace)
                unrecorded = [Attempt(one, _FORGOTTEN) for one in due if one.is_forgotten]
                for delivery in due:
                    if not delivery.is_forgotten:
                        senders.begin(delivery)
                if time.monotonic() >= next_forgetting:
                    _forget(engine, stop)
                    next_forgetting = time.monotonic() + FORGET_EVERY_SECONDS
                waiting.is_over()
            except SQLAlchemyError as error:
                waiting.wait_for_ledger(error)
                continue
            senders.wait(pace.look_seconds)
        _leave(engine, senders, unrecorded, pace)


def _exchange(
    engine: Engine, senders: Senders, ended: Sequence[Attempt], pace: RetrySchedule
) -> list[Delivery]:
    """Note what ended, have events told and take what is due, in one transaction.

    An end that the ledger refuses to note keeps no other from being noted; it is told again.
    """
    with engine.begin() as connection:
        if apart(connection, partial(_record, connection, ended, pace)) is not None:
            for one in ended:
                reason = apart(connection, partial(_record, connection, [one], pace))
                if reason is not None:
                    delivery_id = one.delivery.delivery_id
                    log.error("webhook_ending_refused", delivery_id=delivery_id, reason=reason)
        tell_events(connection)
        return take_due(connection, uuid4(), pace.lease_seconds, pace.at_once, senders.free())


def _record(connection: Connection, ended: Sequence[Attempt], pace: RetrySchedule) -> None:
    failed = [_failed(one, pace) for one in ended if not one.answer.is_delivered]
    record_failed(connection, failed)
    record_delivered(
        connection,
        [
            (one.delivery.delivery_id, one.answer.status)
            for one in ended
            if one.answer.is_delivered and one.answer.status
        ],
    )
    gone = {one.delivery.webhook_id: one.delivery.webhook for one in ended if one.answer.is_gone}
    pause_gone(connection, gone)
    for name in gone.values():
        log.warning("webhook_gone", webhook=name)


def _failed(ending: Attempt, pace: RetrySchedule) -> Failed:
    delivery, answer = ending.delivery, ending.answer
    attempts = delivery.attempts + 1
    pause_seconds = pace.pause_seconds(attempts, answer.retry_after_seconds)
    if delivery.is_forgotten:
        pause_seconds = None
    if pause_seconds is None:
        log.warning(
            "webhook_delivery_died",
            webhook=delivery.webhook,
            delivery_id=delivery.delivery_id,
            attempts=attempts,
            reason=answer.reason,
        )
    return Failed(delivery, answer.status, answer.reason, pause_seconds)


def _tell(pool: PoolManager, delivery: Delivery) -> ReceiverAnswer:
    return send(pool, delivery.url, delivery.secret, message_id(delivery), body_of(delivery))


def _forget(engine: Engine, stop: threading.Event) -> None:
    while not stop.is_set():
        with engine.begin() as connection:
            dropped = forget_delivered(connection, FORGET_AFTER_DAYS)
        if not dropped:
            return
        log.info("webhook_deliveries_forgotten", deliveries=dropped)


def _leave(
    engine: Engine, senders: Senders, unrecorded: list[Attempt], pace: RetrySchedule
) -> None:
    """Wait a little for what is in hand; what does not end is due again when its lease runs out."""
    ends_at = time.monotonic() + pace.leave_seconds
    while senders.in_hand and time.monotonic() < ends_at:
        senders.wait(ends_at - time.monotonic())
        unrecorded += senders.collect()
    if not unrecorded:
        return
    try:
        with engine.begin() as connection:
            _record(connection, unrecorded, pace)
    except SQLAlchemyError as error:
        log.warning("webhook_endings_lost", deliveries=len(unrecorded), reason=first_line(error))
