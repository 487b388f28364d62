"""Reserved slots: a worker full of other batches polls the live queue only."""

from collections.abc import Iterable
from typing import Any

from fakesweep.schema.words import Lane

SOON_SECONDS = 0.1
"""Poll interval while other queues are, or may soon be, excluded."""


class ReservedSlots:
    """Reserves some of a worker's slots for live batches, so that no bulk batch delays an upload.

    A kombu channel polls its queues in the order of this object, the first name first. Used by
    the event loop's thread only.
    """

    def __init__(self, channel: Any, batches_in_flight: int) -> None:
        self._queues: list[str] = list(channel.active_queues)
        self._channel = channel
        self._batches_in_flight = batches_in_flight
        self._usual_seconds = channel.brpop_timeout

    def update(self, queues: Iterable[str]) -> None:
        """Replace the queues."""
        self._queues = list(queues)

    def consume(self, at_most: int) -> list[str]:
        """Return the queues to poll now, the most urgent first."""
        others = self._others_held()
        # The next poll may exclude other queues, so this one must end soon.
        is_near = others >= self._batches_in_flight - 1
        self._channel.brpop_timeout = SOON_SECONDS if is_near else self._usual_seconds
        asked = self._queues[:at_most]
        if others < self._batches_in_flight:
            return asked
        return [queue for queue in asked if queue == Lane.LIVE]

    def rotate(self, last_used: str) -> None:
        """Keep the order: queues have strict priorities."""

    def _others_held(self) -> int:
        """Count unacknowledged messages of other lanes."""
        qos = self._channel.qos
        held = list(qos._delivered.items())  # noqa: SLF001 - kombu has no public name
        done = qos._dirty  # noqa: SLF001
        return sum(
            tag not in done and message.delivery_info.get("routing_key") != Lane.LIVE
            for tag, message in held
        )
