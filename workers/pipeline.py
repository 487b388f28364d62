"""What happens to a batch, as one straight line: fetch, decode, classify, judge, store.

It knows no queue: `run_batch` can be run, tested and profiled with a message made by hand.
"""

import hashlib
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt
import structlog

from schema.errors import FakesweepError
from schema.failures import CorruptImage, ImageFailure, ModelUnavailable, SourceUnavailable
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
    known_scores,
    store_outcomes,
)
from workers.decode import decode
from workers.models.load import LoadedModel
from workers.work import Work

log = structlog.get_logger(__name__)

Models = Mapping[int, LoadedModel]
"""The models of a scan, by their row in the ledger."""

ScoreKey = tuple[bytes, int]
"""SHA-256 of a content, and a model's row."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes behind an image, and what is known of them before they are decoded."""

    content: Content
    body: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded content: its dimensions, and its pixels as each model wants them."""

    content: Content
    pixels: Mapping[int, npt.NDArray[Any]]


Scores = dict[ScoreKey, tuple[float, ...] | ImageFailure]


@dataclass(frozen=True, slots=True)
class Answers:
    """What the steps before found out about the contents of a batch, for the judge."""

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
        outcomes = list(judge_images(message.images, claim, work))
        with work.engine.begin() as connection:
            stored = store_outcomes(connection, claim, work.worker_id, outcomes)
    log.info(
        "batch_stored" if stored else "batch_lost_to_another_worker",
        batch_id=claim.batch_id,
        scan_id=claim.scan_id,
        images=len(outcomes),
        failed=sum(outcome.failure is not None for outcome in outcomes),
        seconds=round(time.monotonic() - started, 3),
    )


def judge_images(images: Sequence[BatchImage], claim: Claim, work: Work) -> Iterator[Outcome]:
    """Yield one outcome for each image, whatever becomes of it, `device_batch_images` at a time."""
    try:
        models = dict(work.roster.model(key) for key in claim.model_keys)
    except FakesweepError as error:
        failure = ModelUnavailable(str(error))
        yield from (_failed(image, None, failure) for image in images)
        return
    known: dict[ScoreKey, KnownScore] = {}
    iterator = iter(images)
    while chunk := list(itertools.islice(iterator, work.settings.device_batch_images)):
        fetched = fetch(chunk, work)
        known |= look_up(fetched, models, work)
        prepared = prepare(fetched, known, models, work)
        answers = Answers(prepared, classify(prepared, models), known)
        for image, found in zip(chunk, fetched, strict=True):
            yield judge(image, found, answers, models, claim.policy)


def fetch(images: Sequence[BatchImage], work: Work) -> list[Fetched | ImageFailure]:
    """Get the bytes of each image, in order; a failure takes the place of its bytes."""

    def one(image: BatchImage) -> Fetched | ImageFailure:
        try:
            body = work.fetcher.fetch(image.uri)
        except ImageFailure as failure:
            return failure
        except Exception as error:
            log.warning("fetch_raised", uri=image.uri, exc_info=True)
            return SourceUnavailable(f"fetching raised {error!r}")
        return Fetched(Content(hashlib.sha256(body).digest(), len(body)), body)

    return list(work.threads.map(one, images))


def look_up(
    fetched: Sequence[Fetched | ImageFailure], models: Models, work: Work
) -> dict[ScoreKey, KnownScore]:
    """Return the scores that these contents have already by these very models."""
    digests = {found.content.sha256 for found in fetched if isinstance(found, Fetched)}
    with work.engine.begin() as connection:
        return known_scores(connection, sorted(digests), list(models))


def prepare(
    fetched: Sequence[Fetched | ImageFailure],
    known: Mapping[ScoreKey, KnownScore],
    models: Models,
    work: Work,
) -> dict[bytes, Prepared | ImageFailure]:
    """Decode each content once that some model has not scored, by SHA-256."""
    wanted: dict[bytes, tuple[Fetched, list[int]]] = {}
    for found in fetched:
        if isinstance(found, Fetched):
            digest = found.content.sha256
            missing = [row for row in models if (digest, row) not in known]
            if missing:
                wanted[digest] = (found, missing)

    def one(found: Fetched, missing: list[int]) -> Prepared | ImageFailure:
        try:
            image = decode(found.body, work.settings.max_image_pixels)
            pixels = {row: models[row].prepare(image.pixels) for row in missing}
        except ImageFailure as failure:
            return failure
        except Exception as error:
            log.warning("decode_raised", sha256=found.content.sha256.hex(), exc_info=True)
            return CorruptImage(f"decoding raised {error!r}")
        content = replace(
            found.content,
            width=image.width,
            height=image.height,
            format=image.format,
            frame_count=image.frame_count,
        )
        return Prepared(content, pixels)

    done = work.threads.map(lambda pair: one(*pair), wanted.values())
    return dict(zip(wanted, done, strict=True))


def classify(prepared: Mapping[bytes, Prepared | ImageFailure], models: Models) -> Scores:
    """Score each prepared content by each model that asked for it, one call a model."""
    scores: Scores = {}
    for row, model in models.items():
        pixels = {
            digest: one.pixels[row]
            for digest, one in prepared.items()
            if isinstance(one, Prepared) and row in one.pixels
        }
        answers = model.classify(list(pixels.values()))
        scores |= {(digest, row): said for digest, said in zip(pixels, answers, strict=True)}
    return scores


def judge(
    image: BatchImage,
    found: Fetched | ImageFailure,
    answers: Answers,
    models: Models,
    policy: Policy,
) -> Outcome:
    """Turn what is known of one image into its outcome.

    The first image of a content takes its new scores; they become known to the ones after it.
    """
    if isinstance(found, ImageFailure):
        return _failed(image, None, found)
    content = found.content
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
