"""From the ledger to the queue: publish what is recorded, and bring back what got lost."""

from collections.abc import Callable
from functools import partial

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fakesweep.producer.resources import Producer
from fakesweep.schema.ledger.batches.deferrals import try_again
from fakesweep.schema.ledger.batches.publishing import take_recorded
from fakesweep.schema.ledger.batches.recovery import any_long_published, return_expired, return_lost
from fakesweep.schema.ledger.connection import first_line, may_pass
from fakesweep.schema.ledger.scans.audits import let_follow
from fakesweep.schema.words import Lane

LOST_AFTER_SECONDS = 15.0
"""A published batch that is not in its queue, and not claimed for so long, is lost."""

log = structlog.get_logger(__name__)


def publish_recorded(producer: Producer, only: int | None = None) -> int:
    """Send recorded batches of all scans or one, live lane first, while the window has room.

    Rows are marked and committed before the message leaves: a message too few is found again,
    one too many is refused by the claim.

    Raises:
        BrokerError: the broker does not take them.
        SQLAlchemyError: the ledger does not give those of a lane out; the others are published.
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
    """Hand batches that nobody works on any more back to be published again.

    What the ledger refuses for good is logged, and keeps nothing else from being done.

    Raises:
        BrokerError: the broker does not say what lies in its queues.
        SQLAlchemyError: the ledger is away, or refuses for now.
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
        returned = return_expired(connection)
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
    waiting = producer.publisher.waiting_batches(lane)
    with producer.engine.begin() as connection:
        lost = return_lost(connection, lane, waiting, LOST_AFTER_SECONDS)
    if lost:
        log.warning("messages_lost", batches=lost, lane=lane.value)
