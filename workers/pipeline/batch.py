"""Pipeline of one batch: fetch, decode, classify, judge, store.

It needs no queue: `run_batch` runs with a message made by hand, for tests and profiles.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError
from structlog.contextvars import bound_contextvars

from fakesweep.schema.errors import DeviceError, LoadersError, ModelAway
from fakesweep.schema.failures import ImageFailure, ModelUnavailable
from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.ledger.batches.contents import Content
from fakesweep.schema.ledger.batches.deferrals import set_aside
from fakesweep.schema.ledger.batches.delivery import Refused, Taken, take_up
from fakesweep.schema.ledger.batches.leases import Claim, known_contents, put_back, release_batch
from fakesweep.schema.ledger.batches.outcomes import (
    Failure,
    Judgement,
    KnownScore,
    Outcome,
    store_outcomes,
)
from fakesweep.schema.ledger.connection import first_line
from fakesweep.schema.message import BatchImage, BatchMessage
from fakesweep.schema.words import Lane
from fakesweep.workers.pipeline.chunk import Loaded, Models, Prepared, chunked, load
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.pipeline.score_cache import ScoreKey
from fakesweep.workers.pipeline.throughput import Stage
from fakesweep.workers.scoring.device_queue import Scored

REST_SECONDS = {Lane.LIVE: 0.2, Lane.QUARANTINE: 1.0, Lane.BULK: 1.0}
"""Pause of a slot after it handed back a batch whose model is away."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ChunkInFlight:
    """A loaded chunk whose images are in the device's queue, model by model."""

    loaded: Loaded
    scores: dict[ScoreKey, Scored]
    pending: Sequence[tuple[Sequence[ScoreKey], Future[list[Scored]]]]


def run_batch(message: BatchMessage, work: Work) -> None:
    """Claim a batch, find the outcome of each image, and store all outcomes at once.

    A batch that is done or held by another worker is skipped; a message that disagrees with the
    ledger is logged and dropped. During a ledger outage the results are kept and retried; a batch
    the ledger refuses for too long, or for good, is set aside. A quarantined batch runs alone.

    A batch whose model cannot be loaded now is handed back. This slot then pauses, so that it
    does not attract batches that other workers can process.

    Raises:
        DeviceError: the device is broken; the batch is handed back.
        LoadersError: no loader can be started; the batch is handed back.
    """
    with bound_contextvars(scan_id=message.scan_id, batch_id=message.batch_id):
        if work.only_scan_id not in (None, message.scan_id):
            _leave_to_others(message, work)
            return
        try:
            with work.batch_lock.taken(alone=message.lane is Lane.QUARANTINE):
                _take_and_work(message, work)
        except ModelAway as away:
            log.info("batch_handed_back", reason=str(away))
            time.sleep(REST_SECONDS[message.lane])


def _take_and_work(message: BatchMessage, work: Work) -> None:
    taken = _taken(message, work)
    if taken is None:
        return
    claim = taken.claim
    try:
        _work_on(replace(message, images=taken.images), claim, work)
    except (DeviceError, LoadersError, ModelAway):
        work.ledger_retry.run(partial(release_batch, claim=claim, worker_id=work.worker_id))
        raise
    except DBAPIError as error:
        _set_aside(message.batch_id, claim.attempt, error, work)


def _leave_to_others(message: BatchMessage, work: Work) -> None:
    """Put back a batch of another scan; a repeated one makes this slot pause first."""
    if message.batch_id in work.put_back:
        time.sleep(REST_SECONDS[message.lane])
    work.put_back.add(message.batch_id)
    work.ledger_retry.run(partial(put_back, batch_id=message.batch_id, attempt=message.attempt))


def _taken(message: BatchMessage, work: Work) -> Taken | None:
    """Claim the batch; log the reason where it cannot be claimed."""
    take = partial(
        take_up, message=message, worker_id=work.worker_id, lease_seconds=work.leases.seconds
    )
    try:
        taken = work.ledger_retry.run(take)
    except DBAPIError as error:
        _set_aside(message.batch_id, message.attempt or 0, error, work)
        return None
    match taken:
        case Taken():
            if taken.was_miscounted:
                log.warning("batch_recounted", images=len(taken.images))
            return taken
        case Refused():
            log.error("message_disagrees", reason=taken.reason)
        case None:
            log.info("batch_passed_over")
    return None


def _set_aside(batch_id: int, attempt: int, error: DBAPIError, work: Work) -> None:
    """Set aside a batch whose results the ledger refuses, with the reason."""
    reason = first_line(error)
    log.error("batch_set_aside", reason=reason)
    aside = partial(set_aside, batch_id=batch_id, said=reason, attempt=attempt)
    try:
        work.ledger_retry.run(aside)
    except DBAPIError as refused:
        log.error("batch_not_handed_back", reason=first_line(refused))


def _work_on(message: BatchMessage, claim: Claim, work: Work) -> None:
    started = time.monotonic()
    with work.leases.holding(claim):
        outcomes = list(judge_images(message, claim, work))
        with work.stages.timed(Stage.STORE, len(outcomes)):
            stored = work.ledger_retry.run(
                lambda connection: store_outcomes(connection, claim, work.worker_id, outcomes)
            )
    log.info(
        "batch_stored" if stored else "batch_lost_to_another_worker",
        images=len(outcomes),
        failed=sum(outcome.failure is not None for outcome in outcomes),
        seconds=round(time.monotonic() - started, 3),
    )


def judge_images(message: BatchMessage, claim: Claim, work: Work) -> Iterator[Outcome]:
    """Yield one outcome for each image, failed or judged.

    Chunks load in parallel and are judged in order.
    """
    with work.load_waiters.place(message.lane) as may_wait:
        ready = work.model_cache.models(
            claim.model_keys,
            asked_at=claim.asked_at,
            claimed_at=claim.claimed_at,
            may_wait=may_wait,
        )
    models = ready.models
    missing = None
    if ready.refused:
        missing = ModelUnavailable("; ".join(map(str, ready.refused.values())))
        if not models:
            yield from (_failed(image, None, missing) for image in message.images)
            return
    known = work.ledger_retry.run(partial(known_contents, claim=claim)) if claim.is_audit else {}
    chunks = [
        work.priority_threads.submit(
            message.lane,
            partial(
                load_and_ask,
                chunk,
                models,
                known,
                lane=message.lane,
                work=work,
                since=time.monotonic(),
            ),
        )
        for chunk in chunked(message.images)
    ]
    for chunk in chunks:
        asked = chunk.result()
        collect(asked, work)
        for image, found in asked.loaded.contents.items():
            outcome = judge(image, found, asked, models, claim.policy)
            yield outcome if missing is None else _without(missing, outcome)


def load_and_ask(
    chunk: Sequence[BatchImage],
    models: Models,
    known: Mapping[int, Content],
    *,
    lane: Lane,
    work: Work,
    since: float,
) -> ChunkInFlight:
    """Load a chunk that has waited for a loader `since`, and queue its images for the device.

    Runs on a priority thread; `since` is monotonic.
    """
    work.stages.waited(Stage.FETCH, time.monotonic() - since)
    return ask(load(chunk, models, work, known, lane), models, lane, work)


def ask(loaded: Loaded, models: Models, lane: Lane, work: Work) -> ChunkInFlight:
    """Queue each prepared content for each model that has not scored it."""
    scores: dict[ScoreKey, Scored] = {}
    pending = []
    for row, model in models.items():
        inputs: dict[ScoreKey, Any] = {}
        for digest, one in loaded.prepared.items():
            if isinstance(one, Prepared) and not loaded.has(digest, row):
                try:
                    inputs[digest, row] = model.finish(one.pixels[row])
                except ImageFailure as failure:
                    scores[digest, row] = failure
        future = work.device.submit(model, list(inputs.values()), lane)
        pending.append((list(inputs), future))
    return ChunkInFlight(loaded, scores, pending)


def collect(asked: ChunkInFlight, work: Work) -> None:
    """Wait for the device's scores, and cache them for later copies.

    Raises:
        DeviceError: the device is broken.
    """
    for keys, future in asked.pending:
        with work.stages.timed(Stage.DEVICE, len(keys)):
            answers = dict(zip(keys, future.result(), strict=True))
        asked.scores.update(answers)
        work.score_cache.remember(
            {key: said for key, said in answers.items() if not isinstance(said, ImageFailure)}
        )


def judge(
    image: BatchImage,
    found: Content | ImageFailure,
    asked: ChunkInFlight,
    models: Models,
    policy: Policy,
) -> Outcome:
    """Return the outcome of one image.

    The first image of a content takes its new scores; later copies find them as known. If one of
    several models fails, the outcome holds the other judgements beside the failure.
    """
    if isinstance(found, ImageFailure):
        return _failed(image, None, found)
    content, loaded = found, asked.loaded
    match loaded.prepared.get(content.sha256):
        case ImageFailure() as failure:
            return _failed(image, content, failure)
        case Prepared() as one:
            content = one.content
    judgements: list[Judgement] = []
    failed: Failure | None = None
    for row, model in models.items():
        key = (content.sha256, row)
        repeated = loaded.repeated.pop(key, None)
        said = asked.scores.pop(key, repeated)
        if isinstance(said, ImageFailure):
            asked.scores[key] = said
            by = f"model {model.identity.key!r}: " if len(models) > 1 else ""
            failed = failed or Failure(said.code, f"{by}{said}")
            continue
        if said is not None:
            labels = model.identity.labels
            loaded.known[key] = KnownScore(labels.p_fake(said), labels.kind(said))
        p_fake, kind = loaded.known[key].p_fake, loaded.known[key].kind
        judgements.append(
            Judgement(row, p_fake, kind, policy.judge(p_fake), said, is_repeated=bool(repeated))
        )
    return Outcome(image.image_id, content, tuple(judgements), failed)


def _without(missing: ModelUnavailable, outcome: Outcome) -> Outcome:
    """Add the failure of a missing model, beside the other models' judgements."""
    if outcome.failure is not None:
        return outcome
    return replace(outcome, failure=Failure(missing.code, str(missing)))


def _failed(image: BatchImage, content: Content | None, failure: ImageFailure) -> Outcome:
    return Outcome(image.image_id, content, (), Failure(failure.code, str(failure)))
