"""Feeder: publishes recorded batches, and recovers expired, deferred and lost ones."""

from collections.abc import Callable
from functools import partial

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fakesweep.producer.resources import Producer
from fakesweep.schema.ledger.batches.deferrals import try_again
from fakesweep.schema.ledger.batches.publishing import take_recorded
from fakesweep.schema.ledger.batches.recovery import (
    any_long_published,
    requeue_expired,
    requeue_lost,
)
from fakesweep.schema.ledger.connection import first_line, may_pass
from fakesweep.schema.ledger.scans.audits import let_follow
from fakesweep.schema.words import Lane

LOST_AFTER_SECONDS = 15.0
"""Age at which a published batch counts as lost if it is neither queued nor claimed."""

log = structlog.get_logger(__name__)


def publish_recorded(producer: Producer, only: int | None = None) -> int:
    """Publish recorded batches, live lane first, while the window has room; return their number.

    The mark is committed before the message is sent: reconciliation finds a lost message, and the
    claim refuses a duplicate. `only` limits the batches to one scan.

    Raises:
        BrokerError: the broker does not accept a message.
        SQLAlchemyError: the ledger refuses a lane; the other lanes are published first.
    """
    published, failure = 0, None
    for lane in Lane:
        try:
            with producer.engine.begin() as connection:
                messages = take_recorded(connection, lane, producer.settings.window_batches, only)
        except SQLAlchemyError as error:
            if may_pass(error):
                raise
            failure = error  # the other lanes go on
            continue
        for message in messages:
            producer.publisher.publish(message)
        published += len(messages)
    if failure is not None:
        raise failure
    return published


def reconcile(producer: Producer) -> None:
    """Requeue expired leases, deferred batches, followers and lost messages.

    A step that the ledger refuses permanently is logged; the other steps still run.

    Raises:
        BrokerError: the broker does not list its queues.
        SQLAlchemyError: the ledger is away, or refuses temporarily.
    """
    lost = [partial(_return_lost, lane=lane) for lane in Lane]
    steps: list[Callable[[Producer], None]] = [_return_expired, _try_again, _let_follow, *lost]
    for step in steps:
        try:
            step(producer)
        except SQLAlchemyError as error:
            if may_pass(error):
                raise
            log.error("recovery_refused", reason=first_line(error))


def _return_expired(producer: Producer) -> None:
    with producer.engine.begin() as connection:
        returned = requeue_expired(connection)
    if returned.batches:
        log.warning(
            "leases_expired", batches=returned.batches, in_quarantine=returned.in_quarantine,
            halved=returned.halved,
        )  # fmt: skip
    for image_id in returned.killers:
        log.error("image_killed_its_workers", image_id=image_id)
    for fault in returned.faults:
        log.error("batch_set_aside", batch_id=fault.batch_id, reason=fault.reason)


def _try_again(producer: Producer) -> None:
    with producer.engine.begin() as connection:
        batches = try_again(connection)
    if batches:
        log.info("batches_tried_again", batches=batches)


def _let_follow(producer: Producer) -> None:
    with producer.engine.begin() as connection:
        followed = let_follow(connection)
    if followed:
        log.info("batches_follow", batches=followed)


def _return_lost(producer: Producer, lane: Lane) -> None:
    with producer.engine.begin() as connection:
        if not any_long_published(connection, lane, LOST_AFTER_SECONDS):
            return
    queued = producer.publisher.waiting_batches(lane)
    with producer.engine.begin() as connection:
        lost = requeue_lost(connection, lane, queued, LOST_AFTER_SECONDS)
    if lost:
        log.warning("messages_lost", batches=lost, lane=lane.value)
