"""From the ledger to the queue: publish what is recorded, and bring back what got lost."""

import structlog

from producer.scans import Producer
from schema.audits import let_follow
from schema.ledger import take_recorded
from schema.recovery import any_long_published, return_expired, return_lost
from schema.words import Lane

LOST_AFTER_SECONDS = 15.0
"""A published batch that is not in its queue, and not claimed for so long, is lost."""

log = structlog.get_logger(__name__)


def publish_recorded(producer: Producer, only: int | None = None) -> int:
    """Send recorded batches of all scans or one, live lane first, while the window has room.

    Rows are marked and committed before the message leaves: a message too few is found again,
    one too many is refused by the claim.

    Raises:
        BrokerError: the broker does not take them.
    """
    published = 0
    for lane in Lane:
        with producer.engine.begin() as connection:
            messages = take_recorded(connection, lane, producer.settings.window_batches, only)
        for message in messages:
            producer.publisher.publish(message)
        published += len(messages)
    return published


def reconcile(producer: Producer) -> None:
    """Hand batches that nobody works on any more back to be published again.

    Raises:
        BrokerError: the broker does not say what lies in its queues.
    """
    with producer.engine.begin() as connection:
        returned = return_expired(connection)
    if returned.batches:
        log.warning(
            "leases_expired", batches=returned.batches, in_quarantine=returned.in_quarantine,
            halved=returned.halved,
        )  # fmt: skip
    with producer.engine.begin() as connection:
        followed = let_follow(connection)
    if followed:
        log.info("batches_follow", batches=followed)
    for image_id in returned.killers:
        log.error("image_killed_its_workers", image_id=image_id)
    for lane in Lane:
        with producer.engine.begin() as connection:
            if not any_long_published(connection, lane, LOST_AFTER_SECONDS):
                continue
        waiting = producer.publisher.waiting_batches(lane)
        with producer.engine.begin() as connection:
            lost = return_lost(connection, lane, waiting, LOST_AFTER_SECONDS)
        if lost:
            log.warning("messages_lost", batches=lost, lane=lane.value)
