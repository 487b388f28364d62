"""Group commit of uploads: submissions of a few milliseconds share one transaction."""

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
    PendingSubmission,
    Submitted,
    prepare_submission,
    record_together,
    store_policy,
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

LEDGER_TIMEOUT_SECONDS = 5.0
"""Time limit of a submission."""

SHUTDOWN_SECONDS = 2 * LEDGER_TIMEOUT_SECONDS
"""Time limit for each thread's end, with silent servers too."""

RETRY_SECONDS = 0.2
CLOSING_PAUSE_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Uploads:
    """Records the submissions of many threads by group commit, and publishes them at once.

    One thread commits: submissions that arrive during a commit share the next one. Another thread
    publishes, so submitters never wait for the broker; the producer's service publishes the rest.
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
        self._group_seconds = producer.settings.gather_milliseconds / 1_000
        self._changed = threading.Condition()
        self._waiting: list[tuple[Stream, PendingSubmission]] = []
        self._stop = threading.Event()
        self._is_ledger_away = False
        self._recorded: SimpleQueue[Lane | None] = SimpleQueue()
        self._committing = threading.Thread(target=self._commit, name="group-commit", daemon=True)
        self._publishing = threading.Thread(target=self._publish, name="publishing", daemon=True)

    def __enter__(self) -> Self:
        """Store the policy and start the threads.

        Raises:
            CatalogueError: the policy is unknown.
            DatabaseError: the ledger does not answer.
        """
        with explained(self._producer.settings.database_url or ""):
            store_policy(self._producer, self._stream)
        self._committing.start()
        self._publishing.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Refuse new submissions, record the waiting ones unless the ledger is away, and stop."""
        with self._changed:
            self._stop.set()
            self._changed.notify_all()
        self._committing.join(SHUTDOWN_SECONDS)
        self._recorded.put(None)
        self._publishing.join(SHUTDOWN_SECONDS)

    def submit(
        self,
        uploads: Sequence[Upload],
        *,
        lane: Lane = Lane.LIVE,
        stream: str = "uploads",
        key: str | None = None,
    ) -> Submitted:
        """Record uploads and return once they are committed; any thread may call.

        A repeated URI is one image, unless the occurrences differ. A repeated key with the same
        uploads returns the first result.

        Raises:
            InvalidUri: a URI is invalid; the message names it, and nothing is recorded.
            SubmissionConflict: the key was used before, for other uploads.
            LedgerAway: the ledger does not answer; the uploads may be recorded nevertheless.
            DatabaseError: the ledger refuses the uploads.
        """
        if not uploads:
            raise ValueError("there is nothing to submit")
        submission = prepare_submission(uploads, key, (stream, lane.value))
        with self._changed:
            if self._stop.is_set():
                raise FakesweepError("this process is ending and takes no uploads any more")
            self._waiting.append((self._stream._replace(stream=stream, lane=lane), submission))
            self._changed.notify_all()
        try:
            return submission.answer.result(LEDGER_TIMEOUT_SECONDS)
        except TimeoutError:
            submission.is_given_up = True
            raise LedgerAway(
                f"the ledger did not answer within {LEDGER_TIMEOUT_SECONDS:g} s; hand the uploads "
                f"in again later, with a key so that they cannot be recorded twice"
            ) from None

    def _commit(self) -> None:
        """Commit groups until told to stop and no submission waits."""
        while self._waiting or not self._stop.is_set():
            for stream, submission in self._next_group().items():
                self._record(stream, submission)

    def _next_group(self) -> dict[Stream, list[PendingSubmission]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stop.is_set())
            if self._waiting:
                until = self._waiting[0][1].at_seconds + self._group_seconds
                self._changed.wait_for(self._is_full, until - time.monotonic())
            taken, self._waiting = self._waiting, []
        together: dict[Stream, list[PendingSubmission]] = {}
        for stream, submission in taken:
            if not submission.is_given_up:
                together.setdefault(stream, []).append(submission)
        return together

    def _is_full(self) -> bool:
        images = sum(len(submission.uploads) for _, submission in self._waiting)
        return images >= self._producer.settings.batch_images or self._stop.is_set()

    def _record(self, stream: Stream, together: Sequence[PendingSubmission]) -> None:
        """Record submissions in one transaction and set their answers.

        After a permanent error each is recorded alone; after a temporary one all are put back.
        """
        batch_images = self._producer.settings.batch_images
        try:
            with self._producer.engine.begin() as connection:
                answers = record_together(connection, stream, together, batch_images)
        except Exception as error:  # noqa: BLE001 - the submitter gets it
            if isinstance(error, SQLAlchemyError) and may_pass(error):
                self._put_back(stream, together, error)
            elif len(together) > 1:
                for submission in together:
                    self._record(stream, [submission])
            else:
                together[0].answer.set_exception(_explained(error))
            return
        if self._is_ledger_away:
            self._is_ledger_away = False
            log.warning("ledger_back")
        self._recorded.put(stream.lane)
        for submission, answer in zip(together, answers, strict=True):
            if isinstance(answer, Submitted):
                submission.answer.set_result(answer)
            else:
                submission.answer.set_exception(answer)

    def _put_back(
        self, stream: Stream, together: Iterable[PendingSubmission], error: SQLAlchemyError
    ) -> None:
        if self._stop.is_set():
            for submission in together:
                submission.answer.set_exception(
                    LedgerAway(f"the ledger is away: {first_line(error)}")
                )
            return
        for submission in together:
            submission.may_be_known = True  # its transaction may have been committed nevertheless
        with self._changed:
            self._waiting[:0] = [(stream, submission) for submission in together]
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
        """Publish recorded lanes until told to stop."""
        while lanes := self._lanes_recorded():
            for lane in lanes:
                try:
                    _publish_lane(self._producer, lane, self._stop)
                except Exception:
                    log.exception("uploads_cannot_be_published", lane=lane.value)

    def _lanes_recorded(self) -> list[Lane]:
        """Wait for recorded batches; return their lanes, an empty list at the end."""
        found = {self._recorded.get()}
        while True:
            try:
                found.add(self._recorded.get_nowait())
            except Empty:
                if None in found:
                    self._recorded.put(None)
                return [lane for lane in Lane if lane in found]


def close_past_scans(producer: Producer, stop: threading.Event) -> None:
    """Close streams' scans of earlier days, once a minute, until told to stop."""
    backoff = Backoff(stop)
    while not stop.is_set():
        try:
            with producer.engine.begin() as connection:
                closed = close_past_days(connection)
        except SQLAlchemyError as error:
            backoff.wait_for_ledger(error)
            continue
        backoff.is_over()
        for scan_id in closed:
            log.info("stream_scan_closed", scan_id=scan_id)
        stop.wait(CLOSING_PAUSE_SECONDS)


def _publish_lane(producer: Producer, lane: Lane, stop: threading.Event) -> None:
    """Publish a lane's recorded batches while the window has room; retry with backoff."""
    backoff, is_away = Backoff(stop), False
    while True:
        try:
            if is_away:  # a batch taken in vain counts as published until reconciliation
                producer.publisher.check()
            with producer.engine.begin() as connection:
                messages = take_recorded(connection, lane, producer.settings.window_batches)
            for message in messages:
                producer.publisher.publish(message)
        except BrokerError as error:
            is_away = True
            backoff.wait(BROKER, str(error))
        except SQLAlchemyError as error:
            backoff.wait_for_ledger(error)
        else:
            backoff.is_over()
            return
        if stop.is_set():
            return


def _explained(error: Exception) -> Exception:
    if isinstance(error, SQLAlchemyError):
        return DatabaseError(f"PostgreSQL refused the uploads: {first_line(error)}")
    return error
