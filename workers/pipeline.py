"""What happens to a batch, as one straight line: fetch, decode, classify, judge, store.

It knows no queue: `run_batch` can be run, tested and profiled with a message made by hand.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from schema.errors import FakesweepError
from schema.failures import ImageFailure, ModelUnavailable
from schema.message import BatchImage, BatchMessage
from schema.policy import Policy
from schema.results import (
    Claim,
    Content,
    Failure,
    Judgement,
    KnownScore,
    Outcome,
    claim_batch,
    store_outcomes,
)
from schema.words import Lane
from workers.chunk import Models, Prepared, ScoreKey, load
from workers.stages import Stage
from workers.work import Work

log = structlog.get_logger(__name__)

Scores = dict[ScoreKey, tuple[float, ...] | ImageFailure]


@dataclass(frozen=True, slots=True)
class Answers:
    """What the steps before found out about the contents of a chunk, for the judge."""

    prepared: Mapping[bytes, Prepared | ImageFailure]
    scores: Scores
    known: dict[ScoreKey, KnownScore]


def run_batch(message: BatchMessage, work: Work) -> None:
    """Claim a batch, bring every image of it to an outcome, and store them all at once.

    A batch that is done, or that another worker holds, is passed over.
    """
    started = time.monotonic()
    with work.engine.begin() as connection:
        claim = claim_batch(connection, message.batch_id, work.worker_id, work.leases.seconds)
    if claim is None:
        log.info("batch_passed_over", batch_id=message.batch_id)
        return
    with work.leases.holding(claim.batch_id):
        outcomes = list(judge_images(message, claim, work))
        with work.stages.timed(Stage.STORE, len(outcomes)), work.engine.begin() as connection:
            stored = store_outcomes(connection, claim, work.worker_id, outcomes)
    log.info(
        "batch_stored" if stored else "batch_lost_to_another_worker",
        batch_id=claim.batch_id,
        scan_id=claim.scan_id,
        images=len(outcomes),
        failed=sum(outcome.failure is not None for outcome in outcomes),
        seconds=round(time.monotonic() - started, 3),
    )


def judge_images(message: BatchMessage, claim: Claim, work: Work) -> Iterator[Outcome]:
    """Yield one outcome for each image, whatever becomes of it, `device_batch_images` at a time."""
    try:
        models = dict(work.roster.model(key) for key in claim.model_keys)
    except FakesweepError as error:
        failure = ModelUnavailable(str(error))
        yield from (_failed(image, None, failure) for image in message.images)
        return
    known: dict[ScoreKey, KnownScore] = {}
    left = deque(message.images)
    while left:
        chunk = [left.popleft() for _ in range(min(len(left), work.settings.device_batch_images))]
        loaded = load(chunk, models, known, work)
        scores = classify(loaded.prepared, models, known, message.lane, work)
        answers = Answers(loaded.prepared, scores, known)
        for image, found in loaded.contents.items():
            yield judge(image, found, answers, models, claim.policy)
        left.extendleft(image for image in reversed(chunk) if image not in loaded.contents)


def classify(
    prepared: Mapping[bytes, Prepared | ImageFailure],
    models: Models,
    known: Mapping[ScoreKey, KnownScore],
    lane: Lane,
    work: Work,
) -> Scores:
    """Score each prepared content by each model that does not know it."""
    scores: Scores = {}
    for row, model in models.items():
        inputs: dict[bytes, Any] = {}
        for digest, one in prepared.items():
            if isinstance(one, Prepared) and (digest, row) not in known:
                try:
                    inputs[digest] = model.finish(one.pixels[row])
                except ImageFailure as failure:
                    scores[digest, row] = failure
        with work.stages.timed(Stage.DEVICE, len(inputs)):
            answers = work.device.classify(model, list(inputs.values()), lane)
        scores |= {(digest, row): said for digest, said in zip(inputs, answers, strict=True)}
    return scores


def judge(
    image: BatchImage,
    found: Content | ImageFailure,
    answers: Answers,
    models: Models,
    policy: Policy,
) -> Outcome:
    """Turn what is known of one image into its outcome.

    The first image of a content takes its new scores; they become known to the ones after it.
    """
    if isinstance(found, ImageFailure):
        return _failed(image, None, found)
    content = found
    match answers.prepared.get(content.sha256):
        case ImageFailure() as failure:
            return _failed(image, content, failure)
        case Prepared() as one:
            content = one.content
    judgements = []
    for row, model in models.items():
        key = (content.sha256, row)
        said = answers.scores.pop(key, None)
        if isinstance(said, ImageFailure):
            answers.scores[key] = said
            return _failed(image, content, said)
        if said is not None:
            labels = model.identity.labels
            answers.known[key] = KnownScore(labels.p_fake(said), labels.kind(said))
        p_fake, kind = answers.known[key].p_fake, answers.known[key].kind
        judgements.append(Judgement(row, p_fake, kind, policy.judge(p_fake), said))
    return Outcome(image.image_id, content, tuple(judgements))


def _failed(image: BatchImage, content: Content | None, failure: ImageFailure) -> Outcome:
    return Outcome(image.image_id, content, (), Failure(failure.code, str(failure)))
