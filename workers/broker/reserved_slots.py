"""Which queues a worker asks: all, or the live lane's alone while it has its share of others."""

from collections.abc import Iterable
from typing import Any

from fakesweep.schema.words import Lane

SOON_SECONDS = 0.1
"""While others may not be asked, the broker is asked so often whether that has changed."""


class ReservedSlots:
    """Keeps some of a worker's slots for live batches, so that an upload waits for no bulk batch.

    A channel of kombu's asks its queues in the order that such an object says, strictly: what is
    named first goes first. Nothing but the event loop's thread calls it.
    """

    def __init__(self, channel: Any, batches_in_flight: int) -> None:
        self._queues: list[str] = list(channel.active_queues)
        self._channel = channel
        self._batches_in_flight = batches_in_flight
        self._usual_seconds = channel.brpop_timeout

    def update(self, queues: Iterable[str]) -> None:
        """Take these queues in place of those before."""
        self._queues = list(queues)

    def consume(self, at_most: int) -> list[str]:
        """Return the queues to wait for now, the most urgent first."""
        others = self._others_held()
        # The next question may be for live alone: it is to be asked again soon.
        is_near = others >= self._batches_in_flight - 1
        self._channel.brpop_timeout = SOON_SECONDS if is_near else self._usual_seconds
        asked = self._queues[:at_most]
        if others < self._batches_in_flight:
            return asked
        return [queue for queue in asked if queue == Lane.LIVE]

    def rotate(self, last_used: str) -> None:
        """Leave the order as it is, whichever queue was used."""

    def _others_held(self) -> int:
        """Count messages from other lanes that are not acknowledged."""
        qos = self._channel.qos
        held = list(qos._delivered.items())  # noqa: SLF001 - kombu has no name for them
        done = qos._dirty  # noqa: SLF001
        return sum(
            tag not in done and message.delivery_info.get("routing_key") != Lane.LIVE
            for tag, message in held
        )
