"""Images handed in one by one: gathered for a few milliseconds, recorded together, published."""

import threading
import time
from collections.abc import Iterable, Sequence
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fakesweep.producer.backoff import Backoff
from fakesweep.producer.resources import Producer
from fakesweep.producer.uploads.submissions import (
    Handed,
    Submitted,
    read_submission,
    record_together,
    settle_policy,
    stream_of,
)
from fakesweep.schema.errors import BrokerError, DatabaseError, FakesweepError, LedgerAway
from fakesweep.schema.judging.catalogue import DEFAULT_POLICY
from fakesweep.schema.ledger.batches.publishing import take_recorded
from fakesweep.schema.ledger.connection import (
    explained,
    first_line,
    is_conflict,
    is_read_only,
    may_pass,
)
from fakesweep.schema.ledger.uploads import Stream, Upload, close_past_days
from fakesweep.schema.words import BROKER, Lane

PATIENCE_SECONDS = 5.0
"""How long a submission waits for the ledger."""

LEAVING_SECONDS = 2 * PATIENCE_SECONDS
"""Servers that are silent keep nobody for longer who is told to end."""

RETRY_SECONDS = 0.2
CLOSING_PAUSE_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Uploads:
    """Records what many threads hand in, and publishes it at once.

    One thread gathers and commits: what comes while it commits is recorded together after that.
    Another publishes, so that a broker which is away keeps nobody waiting; what it cannot publish
    stands recorded for the producer's service.
    """

    def __init__(
        self,
        producer: Producer,
        *,
        models: tuple[str, ...] | None = None,
        policy: str = DEFAULT_POLICY,
    ) -> None:
        self._stream = stream_of(producer, "uploads", Lane.LIVE, models or (), policy)
        self._producer = producer
        self._gather_seconds = producer.settings.gather_milliseconds / 1_000
        self._changed = threading.Condition()
        self._waiting: list[tuple[Stream, Handed]] = []
        self._stop = threading.Event()
        self._is_ledger_away = False
        self._recorded: SimpleQueue[Lane | None] = SimpleQueue()
        self._gathering = threading.Thread(target=self._gather, name="gathering", daemon=True)
        self._publishing = threading.Thread(target=self._publish, name="publishing", daemon=True)

    def __enter__(self) -> Self:
        """Look the policy up, and begin.

        Raises:
            CatalogueError: the policy is not known.
            DatabaseError: the ledger does not answer.
        """
        with explained(self._producer.settings.database_url or ""):
            settle_policy(self._producer, self._stream)
        self._gathering.start()
        self._publishing.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take no more; record what waits unless the ledger is away, and end."""
        with self._changed:
            self._stop.set()
            self._changed.notify_all()
        self._gathering.join(LEAVING_SECONDS)
        self._recorded.put(None)
        self._publishing.join(LEAVING_SECONDS)

    def submit(
        self,
        uploads: Sequence[Upload],
        *,
        lane: Lane = Lane.LIVE,
        stream: str = "uploads",
        key: str | None = None,
    ) -> Submitted:
        """Record uploads, and return when they are committed; any thread may.

        One URI twice in a submission is one image, unless the occurrences differ. With a key, the
        same uploads again get the first answer again.

        Raises:
            InvalidUri: one is no URI; the message says which, and nothing is recorded.
            SubmissionConflict: the key was used before, for other uploads.
            LedgerAway: the ledger does not answer; it may have the uploads all the same.
            DatabaseError: the ledger refuses them.
        """
        if not uploads:
            raise ValueError("there is nothing to submit")
        handed = read_submission(uploads, key, (stream, lane.value))
        with self._changed:
            if self._stop.is_set():
                raise FakesweepError("this process is ending and takes no uploads any more")
            self._waiting.append((self._stream._replace(stream=stream, lane=lane), handed))
            self._changed.notify_all()
        try:
            return handed.answer.result(PATIENCE_SECONDS)
        except TimeoutError:
            handed.is_given_up = True
            raise LedgerAway(
                f"the ledger did not answer within {PATIENCE_SECONDS:g} s; hand the uploads in "
                f"again later, with a key so that they cannot be recorded twice"
            ) from None

    def _gather(self) -> None:
        """Record what waits, again and again, until told to stop and nothing waits any more."""
        while self._waiting or not self._stop.is_set():
            for stream, handed in self._next_together().items():
                self._record(stream, handed)

    def _next_together(self) -> dict[Stream, list[Handed]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stop.is_set())
            if self._waiting:
                until = self._waiting[0][1].at_seconds + self._gather_seconds
                self._changed.wait_for(self._is_full, until - time.monotonic())
            taken, self._waiting = self._waiting, []
        together: dict[Stream, list[Handed]] = {}
        for stream, handed in taken:
            if not handed.is_given_up:
                together.setdefault(stream, []).append(handed)
        return together

    def _is_full(self) -> bool:
        images = sum(len(handed.uploads) for _, handed in self._waiting)
        return images >= self._producer.settings.batch_images or self._stop.is_set()

    def _record(self, stream: Stream, together: Sequence[Handed]) -> None:
        """Record submissions in one transaction, and answer; on failure none of them spoils others.

        They are put back where the ledger may answer again.
        """
        batch_images = self._producer.settings.batch_images
        try:
            with self._producer.engine.begin() as connection:
                answers = record_together(connection, stream, together, batch_images)
        except Exception as error:  # noqa: BLE001 - whoever handed it in hears of it
            if isinstance(error, SQLAlchemyError) and may_pass(error):
                self._put_back(stream, together, error)
            elif len(together) > 1:
                for handed in together:
                    self._record(stream, [handed])
            else:
                together[0].answer.set_exception(_explained(error))
            return
        if self._is_ledger_away:
            self._is_ledger_away = False
            log.warning("ledger_back")
        self._recorded.put(stream.lane)
        for handed, answer in zip(together, answers, strict=True):
            if isinstance(answer, Submitted):
                handed.answer.set_result(answer)
            else:
                handed.answer.set_exception(answer)

    def _put_back(self, stream: Stream, together: Iterable[Handed], error: SQLAlchemyError) -> None:
        if self._stop.is_set():
            for handed in together:
                handed.answer.set_exception(LedgerAway(f"the ledger is away: {first_line(error)}"))
            return
        for handed in together:
            handed.may_be_known = True  # its transaction may have been committed all the same
        with self._changed:
            self._waiting[:0] = [(stream, handed) for handed in together]
        if is_conflict(error):
            log.info("transaction_conflicted")
            return
        if not self._is_ledger_away:
            self._is_ledger_away = True
            log.warning("ledger_away", reason=first_line(error))
        if is_read_only(error):  # new sessions may be allowed to write
            self._producer.engine.dispose()
        self._stop.wait(RETRY_SECONDS)

    def _publish(self) -> None:
        """Publish what is recorded, lane by lane, until told to stop."""
        while lanes := self._lanes_recorded():
            for lane in lanes:
                try:
                    _publish_lane(self._producer, lane, self._stop)
                except Exception:
                    log.exception("uploads_cannot_be_published", lane=lane.value)

    def _lanes_recorded(self) -> list[Lane]:
        """Wait until something is recorded; return its lanes, and none at the end."""
        found = {self._recorded.get()}
        while True:
            try:
                found.add(self._recorded.get_nowait())
            except Empty:
                if None in found:
                    self._recorded.put(None)
                return [lane for lane in Lane if lane in found]


def close_past_scans(producer: Producer, stop: threading.Event) -> None:
    """Close the scans that streams opened on earlier days, until told to stop."""
    waiting = Backoff(stop)
    while not stop.is_set():
        try:
            with producer.engine.begin() as connection:
                closed = close_past_days(connection)
        except SQLAlchemyError as error:
            waiting.wait_for_ledger(error)
            continue
        waiting.is_over()
        for scan_id in closed:
            log.info("stream_scan_closed", scan_id=scan_id)
        stop.wait(CLOSING_PAUSE_SECONDS)


def _publish_lane(producer: Producer, lane: Lane, stop: threading.Event) -> None:
    """Send what is recorded in a lane while the window has room, once the broker takes it."""
    waiting, is_away = Backoff(stop), False
    while True:
        try:
            if is_away:  # what is taken from the ledger for nothing is lost for a while
                producer.publisher.check()
            with producer.engine.begin() as connection:
                messages = take_recorded(connection, lane, producer.settings.window_batches)
            for message in messages:
                producer.publisher.publish(message)
        except BrokerError as error:
            is_away = True
            waiting.wait(BROKER, str(error))
        except SQLAlchemyError as error:
            waiting.wait_for_ledger(error)
        else:
            waiting.is_over()
            return
        if stop.is_set():
            return


def _explained(error: Exception) -> Exception:
    if isinstance(error, SQLAlchemyError):
        return DatabaseError(f"PostgreSQL refused the uploads: {first_line(error)}")
    return error
