"""Sender threads, one for each delivery in hand, and the state of each receiver."""

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
    """One attempt and its answer."""

    delivery: Delivery
    answer: ReceiverAnswer


@dataclass(slots=True)
class _Receiver:
    """State of a webhook in this process: deliveries, failures in a row, end of its rest."""

    in_hand: int = 0
    failures: int = 0
    rests_until: float = 0.0


class Senders:
    """Sends each delivery on its own daemon thread.

    A hanging thread delays only its own webhook, and never the end of the process.
    """

    def __init__(self, send: Callable[[Delivery], ReceiverAnswer], schedule: RetrySchedule) -> None:
        self._send = send
        self._schedule = schedule
        self._receivers: dict[int, _Receiver] = {}
        self._ended: deque[Attempt] = deque()
        self._moved = threading.Event()

    @property
    def in_hand(self) -> int:
        """Number of deliveries whose outcome is not collected yet."""
        return sum(one.in_hand for one in self._receivers.values())

    def free(self) -> dict[int, int]:
        """Return the free places of busy and failing webhooks; others have all of theirs."""
        now = time.monotonic()
        return {webhook_id: self._room(one, now) for webhook_id, one in self._receivers.items()}

    def begin(self, delivery: Delivery) -> None:
        """Start the thread of a delivery."""
        self._receivers.setdefault(delivery.webhook_id, _Receiver()).in_hand += 1
        threading.Thread(target=self._run, args=(delivery,), name="webhook", daemon=True).start()

    def collect(self) -> list[Attempt]:
        """Return the attempts that ended since the last call."""
        attempts = [self._ended.popleft() for _ in range(len(self._ended))]
        for attempt in attempts:
            self._record(self._receivers[attempt.delivery.webhook_id], attempt)
        idle = [key for key, one in self._receivers.items() if one == _Receiver()]
        for webhook_id in idle:
            del self._receivers[webhook_id]
        return attempts

    def wait(self, seconds: float) -> None:
        """Wait until a delivery ends, up to `seconds`."""
        self._moved.wait(seconds)
        self._moved.clear()

    def _run(self, delivery: Delivery) -> None:
        try:
            answer = self._send(delivery)
        except Exception as error:  # one bad delivery ends no other
            log.exception("webhook_cannot_be_sent", webhook=delivery.webhook)
            answer = ReceiverAnswer(None, f"it cannot be sent ({type(error).__name__})")
        self._ended.append(Attempt(delivery, answer))
        self._moved.set()

    def _room(self, receiver: _Receiver, now: float) -> int:
        if now < receiver.rests_until:
            return 0
        most = 1 if receiver.failures else self._schedule.at_once
        return max(0, most - receiver.in_hand)

    def _record(self, receiver: _Receiver, attempt: Attempt) -> None:
        name, answer = attempt.delivery.webhook, attempt.answer
        receiver.in_hand -= 1
        if answer.is_delivered:
            if receiver.failures:
                log.info("webhook_recovered", webhook=name)
            receiver.failures, receiver.rests_until = 0, 0.0
            return
        now = time.monotonic()
        if now < receiver.rests_until:  # sent before the rest began, so no new failure
            return
        if not receiver.failures:
            log.warning("webhook_failing", webhook=name, reason=answer.reason)
        receiver.failures += 1
        rest = self._schedule.rest_seconds(receiver.failures, answer.retry_after_seconds)
        receiver.rests_until = now + rest
