"""Celery's consumer with our shutdown, reconnection, and dead letters."""

import signal
import threading
import time
import warnings
from types import FrameType
from typing import Any

import structlog
from celery import bootsteps
from celery.exceptions import CPendingDeprecationWarning
from celery.worker import state
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.consumer.tasks import Tasks
from redis.exceptions import ConnectionError  # noqa: A004 - what Celery reconnects after

from fakesweep.schema.telemetry.heartbeat import Phase
from fakesweep.workers.broker.process import process
from fakesweep.workers.broker.reserved_slots import ReservedSlots

TICK_SECONDS = 1.0
FORGOTTEN_TICKS = 3
"""Ticks before a held message counts as forgotten; a finished task's message is held briefly."""

FIRST_PAUSE_SECONDS = 1
LONGEST_PAUSE_SECONDS = 10
FIRST_LINE_SECONDS = 10.0
"""Delay before the log repeats that the broker is away; it doubles with each line."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

log = structlog.get_logger(__name__)


class Consumer(CeleryConsumer):
    """Celery's consumer, which reconnects for as long as it takes and logs outages sparsely."""

    _away_since: float | None = None
    _next_line_seconds = 0.0
    _ticks_with_forgotten = 0

    def start(self) -> None:
        """Consume until a signal begins the shutdown.

        Our signal handlers replace Celery's; each signal begins the same warm shutdown.
        """
        for number in SIGNALS:
            signal.signal(number, _begin_shutdown)
        # Celery warns at each outage about the future of a setting that we set.
        warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
        super().start()

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, with retries until the broker answers."""
        conn.ensure_connection(
            self._missed,
            interval_start=FIRST_PAUSE_SECONDS,
            interval_step=FIRST_PAUSE_SECONDS,
            interval_max=LONGEST_PAUSE_SECONDS,
            callback=state.maybe_shutdown,
        )
        self.first_connection_attempt = False
        return conn

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Wait before the next attempt: the broker refused the connection."""
        self._wait_after(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Drop the connection; wait before the next one where this one received nothing."""
        self._wait_after(exc)
        super().on_connection_error_after_connected(exc)

    def tick(self) -> None:
        """Record a round of the event loop with a reachable broker."""
        process.heartbeat.tick()
        process.heartbeat.broker_missed_at = None
        if self._away_since is not None:
            log.warning("broker_back", seconds=round(time.monotonic() - self._away_since, 1))
            self._away_since = None
        self._drop_forgotten()

    def _drop_forgotten(self) -> None:
        """Reconnect where unacknowledged messages belong to no task.

        Their acknowledgement failed during an outage. Celery only logs that and counts them as in
        flight for ever, until no room for others is left.

        Raises:
            ConnectionError: redis' own; makes Celery drop the connection.
        """
        channel: Any = self.task_consumer.channel  # type: ignore[attr-defined]  # set by Tasks
        held = len(channel.qos._delivered) - len(channel.qos._dirty)  # noqa: SLF001 - kombu's count
        is_forgotten = held > len(state.reserved_requests)
        self._ticks_with_forgotten = self._ticks_with_forgotten + 1 if is_forgotten else 0
        if self._ticks_with_forgotten >= FORGOTTEN_TICKS:
            self._ticks_with_forgotten = 0
            raise ConnectionError("messages could not be acknowledged")

    def _wait_after(self, error: Exception) -> None:
        is_repeated = self._away_since is not None
        self._missed(error)
        if is_repeated:
            state.maybe_shutdown()
            threading.Event().wait(FIRST_PAUSE_SECONDS)

    def _missed(self, error: Exception, _pause_seconds: float = 0) -> None:
        now = process.heartbeat.broker_missed_at = time.monotonic()
        if self._away_since is None:
            self._away_since, self._next_line_seconds = now, 0.0
        away_seconds = now - self._away_since
        if away_seconds < self._next_line_seconds:
            return
        self._next_line_seconds = max(FIRST_LINE_SECONDS, 2 * self._next_line_seconds)
        log.warning(
            "broker_away", seconds=round(away_seconds, 1), reason=" ".join(str(error).split())
        )


class Gate(bootsteps.StartStopStep):
    """Installs the dead-letter filter and reserved slots on each connection, and ticks."""

    requires = (Tasks,)
    _timer: Any = None

    def start(self, parent: Any) -> None:
        """Hook into the new connection before its first message."""
        channel = parent.task_consumer.channel
        channel.client.set_response_callback("BRPOP", process.dead_letters.sort_out)
        channel._queue_cycle = ReservedSlots(channel, process.settings.batches_in_flight)  # noqa: SLF001
        self._timer = parent.timer.call_repeatedly(TICK_SECONDS, parent.tick)

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Stop the ticks of a dropped connection."""
        if self._timer is not None:
            self._timer.cancel()


def _begin_shutdown(number: int, _frame: FrameType | None) -> None:
    state.should_stop = 0  # type: ignore[assignment]  # as Celery's own handlers do
    process.heartbeat.enter(Phase.LEAVING)
    process.shutdown.tell(signal.Signals(number).name)
