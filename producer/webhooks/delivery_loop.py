"""Delivery loop: leases due deliveries, has them sent, records outcomes and deletes old ones."""

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
    delete_delivered,
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
    producer: Producer, stop: threading.Event, schedule: RetrySchedule = RETRY_SCHEDULE
) -> None:
    """Send due deliveries until `stop` is set; outages of the ledger are waited out.

    Several producers share the deliveries by lease. A delivery of a killed producer is due again
    when its lease expires, so a receiver may get it twice, under the same `webhook-id`.

    Raises:
        SQLAlchemyError: the ledger refuses permanently.
    """
    engine, backoff = producer.engine, Backoff(stop)
    unrecorded: list[Attempt] = []
    next_deletion = 0.0
    with open_receivers(producer.settings, schedule.timeout_seconds, schedule.at_once) as pool:
        senders = Senders(partial(_send, pool), schedule)
        while not stop.is_set():
            unrecorded += senders.collect()
            try:
                due = _exchange(engine, senders, unrecorded, schedule)
                unrecorded = [Attempt(one, _FORGOTTEN) for one in due if one.is_forgotten]
                for delivery in due:
                    if not delivery.is_forgotten:
                        senders.begin(delivery)
                if time.monotonic() >= next_deletion:
                    _delete_old(engine, stop)
                    next_deletion = time.monotonic() + FORGET_EVERY_SECONDS
                backoff.is_over()
            except SQLAlchemyError as error:
                backoff.wait_for_ledger(error)
                continue
            senders.wait(schedule.poll_seconds)
        _shut_down(engine, senders, unrecorded, schedule)


def _exchange(
    engine: Engine, senders: Senders, ended: Sequence[Attempt], schedule: RetrySchedule
) -> list[Delivery]:
    """Record outcomes, queue new events and lease due deliveries, in one transaction.

    An outcome that the ledger refuses is logged, and its delivery is sent again; the others stand.
    """
    with engine.begin() as connection:
        if apart(connection, partial(_record, connection, ended, schedule)) is not None:
            for one in ended:
                reason = apart(connection, partial(_record, connection, [one], schedule))
                if reason is not None:
                    delivery_id = one.delivery.delivery_id
                    log.error("webhook_outcome_refused", delivery_id=delivery_id, reason=reason)
        tell_events(connection)
        return take_due(
            connection, uuid4(), schedule.lease_seconds, schedule.at_once, senders.free()
        )


def _record(connection: Connection, ended: Sequence[Attempt], schedule: RetrySchedule) -> None:
    failed = [_failed(one, schedule) for one in ended if not one.answer.is_delivered]
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


def _failed(attempt: Attempt, schedule: RetrySchedule) -> Failed:
    delivery, answer = attempt.delivery, attempt.answer
    attempts = delivery.attempts + 1
    pause_seconds = schedule.pause_seconds(attempts, answer.retry_after_seconds)
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


def _send(pool: PoolManager, delivery: Delivery) -> ReceiverAnswer:
    return send(pool, delivery.url, delivery.secret, message_id(delivery), body_of(delivery))


def _delete_old(engine: Engine, stop: threading.Event) -> None:
    while not stop.is_set():
        with engine.begin() as connection:
            dropped = delete_delivered(connection, FORGET_AFTER_DAYS)
        if not dropped:
            return
        log.info("webhook_deliveries_forgotten", deliveries=dropped)


def _shut_down(
    engine: Engine, senders: Senders, unrecorded: list[Attempt], schedule: RetrySchedule
) -> None:
    """Wait for deliveries in hand; one that does not end is due again when its lease expires."""
    ends_at = time.monotonic() + schedule.shutdown_seconds
    while senders.in_hand and time.monotonic() < ends_at:
        senders.wait(ends_at - time.monotonic())
        unrecorded += senders.collect()
    if not unrecorded:
        return
    try:
        with engine.begin() as connection:
            _record(connection, unrecorded, schedule)
    except SQLAlchemyError as error:
        log.warning("webhook_outcomes_lost", deliveries=len(unrecorded), reason=first_line(error))
