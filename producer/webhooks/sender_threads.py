"""The threads that send, one for each delivery in hand, and how each receiver fares."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from fakesweep.producer.webhooks.request import ReceiverAnswer
from fakesweep.producer.webhooks.retry_schedule import RetrySchedule
from fakesweep.schema.ledger.webhooks.deliveries import Delivery

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one attempt."""

    delivery: Delivery
    answer: ReceiverAnswer


@dataclass(slots=True)
class _Receiver:
    """How a webhook fares in this process: deliveries in hand, failures in a row, its rest."""

    in_hand: int = 0
    failures: int = 0
    rests_until: float = 0.0


class Senders:
    """Sends deliveries on threads of their own.

    A thread that hangs holds up nobody but its own webhook, nor the process, which leaves it
    behind.
    """

    def __init__(self, send: Callable[[Delivery], ReceiverAnswer], pace: RetrySchedule) -> None:
        self._send = send
        self._pace = pace
        self._receivers: dict[int, _Receiver] = {}
        self._ended: deque[Attempt] = deque()
        self._moved = threading.Event()

    @property
    def in_hand(self) -> int:
        """Deliveries whose end was not collected yet."""
        return sum(one.in_hand for one in self._receivers.values())

    def free(self) -> dict[int, int]:
        """Return how many more deliveries each webhook may have in hand that is not at ease."""
        now = time.monotonic()
        return {webhook_id: self._room(one, now) for webhook_id, one in self._receivers.items()}

    def begin(self, delivery: Delivery) -> None:
        """Send a delivery on a thread of its own."""
        self._receivers.setdefault(delivery.webhook_id, _Receiver()).in_hand += 1
        threading.Thread(target=self._run, args=(delivery,), name="webhook", daemon=True).start()

    def collect(self) -> list[Attempt]:
        """Return what ended since the last time."""
        endings = [self._ended.popleft() for _ in range(len(self._ended))]
        for ending in endings:
            self._note(self._receivers[ending.delivery.webhook_id], ending)
        at_ease = [key for key, one in self._receivers.items() if one == _Receiver()]
        for webhook_id in at_ease:
            del self._receivers[webhook_id]
        return endings

    def wait(self, seconds: float) -> None:
        """Wait until a delivery ends, so long at most."""
        self._moved.wait(seconds)
        self._moved.clear()

    def _run(self, delivery: Delivery) -> None:
        try:
            answer = self._send(delivery)
        except Exception as error:  # one delivery that cannot be sent is no reason to tell nobody
            log.exception("webhook_cannot_be_sent", webhook=delivery.webhook)
            answer = ReceiverAnswer(None, f"it cannot be sent ({type(error).__name__})")
        self._ended.append(Attempt(delivery, answer))
        self._moved.set()

    def _room(self, receiver: _Receiver, now: float) -> int:
        if now < receiver.rests_until:
            return 0
        most = 1 if receiver.failures else self._pace.at_once
        return max(0, most - receiver.in_hand)

    def _note(self, receiver: _Receiver, ending: Attempt) -> None:
        name, answer = ending.delivery.webhook, ending.answer
        receiver.in_hand -= 1
        if answer.is_delivered:
            if receiver.failures:
                log.info("webhook_recovered", webhook=name)
            receiver.failures, receiver.rests_until = 0, 0.0
            return
        now = time.monotonic()
        if now < receiver.rests_until:  # what was in hand when it failed tells nothing new
            return
        if not receiver.failures:
            log.warning("webhook_failing", webhook=name, reason=answer.reason)
        receiver.failures += 1
        rest = self._pace.rest_seconds(receiver.failures, answer.retry_after_seconds)
        receiver.rests_until = now + rest
