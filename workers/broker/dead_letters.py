"""Strays: messages that cannot be read are kept from Celery and put aside, in log and ledger."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import structlog

from fakesweep.schema.ledger.dead_letters import MAX_BODY_CHARACTERS, DeadLetter, record_unreadable
from fakesweep.schema.ledger.retry import LedgerRetry
from fakesweep.schema.message import UnreadableMessage
from fakesweep.schema.telemetry.logs import cleared
from fakesweep.workers.broker.envelope import check_body, open_envelope
from fakesweep.workers.threads.fatal import vital_thread

KEPT_DEAD_LETTERS = 1_000
"""Strays that wait at most for a ledger that is away; of more, only the log tells."""

PRIORITY_SEPARATOR = "\x06\x16"
"""Of the transport's: what stands behind it in a key of Redis is a priority."""

log = structlog.get_logger(__name__)

Popped = list[Any] | tuple[Any, ...] | None
"""What Redis answers to BRPOP: queue and message, nothing where none came in time."""


class DeadLetters:
    """Sorts out what comes from the broker, and records strays in a thread of its own."""

    def __init__(self, ledger_retry: LedgerRetry) -> None:
        self._ledger_retry = ledger_retry
        self._strays: queue.Queue[DeadLetter] = queue.Queue(KEPT_DEAD_LETTERS)
        self._stop = threading.Event()

    @contextmanager
    def recorded(self) -> Iterator["DeadLetters"]:
        """Record strays for as long as the context lasts."""
        vital_thread("strays", self._record).start()
        try:
            yield self
        finally:
            self._stop.set()

    def sort_out(self, popped: Popped) -> Popped:
        """Return what BRPOP brought, or nothing where that is a stray, which Redis has dropped."""
        if not popped:
            return None
        key, raw = popped
        shown: bytes | str = raw
        try:
            shown = open_envelope(raw)
            check_body(shown)
        except UnreadableMessage as error:
            name = key.decode("utf-8", "replace").partition(PRIORITY_SEPARATOR)[0]
            self._put_aside(name, str(error), shown)
            return None
        return tuple(popped)

    def _put_aside(self, queue_name: str, reason: str, body: bytes | str) -> None:
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        shown = cleared(text[:MAX_BODY_CHARACTERS])[:MAX_BODY_CHARACTERS]
        stray = DeadLetter(queue_name, " ".join(cleared(reason).split()), shown)
        log.error("message_unreadable", **asdict(stray))
        try:
            self._strays.put_nowait(stray)
        except queue.Full:
            log.warning("stray_not_recorded", kept=KEPT_DEAD_LETTERS)

    def _record(self) -> None:
        while True:
            record = partial(record_unreadable, stray=self._strays.get())
            try:
                self._ledger_retry.run(record, self._stop)
            except Exception as error:  # noqa: BLE001 - the log has it, and no stray ends a worker
                log.warning("stray_not_recorded", reason=str(error).splitlines()[0])
