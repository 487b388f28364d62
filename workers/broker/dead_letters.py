"""Dead letters: malformed messages are diverted from Celery into the log and the ledger."""

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
"""Dead letters buffered while the ledger is away; further ones are only logged."""

PRIORITY_SEPARATOR = "\x06\x16"
"""The transport's separator between queue name and priority in a Redis key."""

log = structlog.get_logger(__name__)

Popped = list[Any] | tuple[Any, ...] | None
"""Redis' answer to BRPOP: key and message, or nothing after the timeout."""


class DeadLetters:
    """Diverts malformed messages and records them on its own thread."""

    def __init__(self, ledger_retry: LedgerRetry) -> None:
        self._ledger_retry = ledger_retry
        self._unrecorded: queue.Queue[DeadLetter] = queue.Queue(KEPT_DEAD_LETTERS)
        self._stop = threading.Event()

    @contextmanager
    def recorded(self) -> Iterator["DeadLetters"]:
        """Record dead letters for the context."""
        vital_thread("dead-letters", self._record).start()
        try:
            yield self
        finally:
            self._stop.set()

    def sort_out(self, popped: Popped) -> Popped:
        """Return BRPOP's answer, or nothing where its message is malformed."""
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
        dead_letter = DeadLetter(queue_name, " ".join(cleared(reason).split()), shown)
        log.error("message_unreadable", **asdict(dead_letter))
        try:
            self._unrecorded.put_nowait(dead_letter)
        except queue.Full:
            log.warning("dead_letter_not_recorded", kept=KEPT_DEAD_LETTERS)

    def _record(self) -> None:
        while True:
            record = partial(record_unreadable, letter=self._unrecorded.get())
            try:
                self._ledger_retry.run(record, self._stop)
            except Exception as error:  # noqa: BLE001 - a logged dead letter never ends a worker
                log.warning("dead_letter_not_recorded", reason=str(error).splitlines()[0])
