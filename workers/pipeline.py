"""What happens to a batch, as one straight line: fetch, decode, classify, judge, store.

It knows no queue: `run_batch` can be run, tested and profiled with a message made by hand.
"""

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from schema.errors import FakesweepError
from schema.failures import CorruptImage, ImageFailure, ModelUnavailable, failure_of
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
from schema.words import Lane
from workers.loaders import Loader, LoaderLost
from workers.models.load import LoadedModel
from workers.stages import Stage
from workers.work import Work

log = structlog.get_logger(__name__)

Models = Mapping[int, LoadedModel]
"""The models of a scan, by their row in the ledger."""

ScoreKey = tuple[bytes, int]
"""SHA-256 of a content, and a model's row."""


Pixels = npt.NDArray[np.uint8]
Scores = dict[ScoreKey, tuple[float, ...] | ImageFailure]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded content: its dimensions, and its pixels as each model's steps leave them."""

    content: Content
    pixels: Mapping[int, Pixels]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a loader made of a chunk: the content of each image, and the pixels of new contents.

    Images that are not among `contents` did not fit into the loader; they come again.
    """

    contents: Mapping[BatchImage, Content | ImageFailure]
    prepared: Mapping[bytes, Prepared | ImageFailure]


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


def load(
    chunk: Sequence[BatchImage],
    models: Models,
    known: dict[ScoreKey, KnownScore],
    work: Work,
) -> Loaded:
    """Fetch a chunk, find its known scores, and prepare what is new, all in one loader process.

    Where the loader is lost, each image is tried alone: only one that does it again fails.
    """
    try:
        with work.loaders.one() as loader:
            with work.stages.timed(Stage.FETCH, len(chunk)):
                contents = fetch(chunk, loader)
            with work.stages.timed(Stage.LOOK_UP, len(contents)):
                known |= look_up(contents.values(), models, work)
            with work.stages.timed(Stage.DECODE, len(contents)):
                return Loaded(contents, prepare(contents, known, models, loader))
    except LoaderLost as lost:
        log.warning("loader_lost", images=len(chunk), reason=str(lost))
        if len(chunk) == 1:
            failure = CorruptImage(f"it broke the process that decoded it: {lost}")
            return Loaded({chunk[0]: failure}, {})
    alone = [load([image], models, known, work) for image in chunk]
    return Loaded(
        {image: found for one in alone for image, found in one.contents.items()},
        {digest: found for one in alone for digest, found in one.prepared.items()},
    )


def fetch(chunk: Sequence[BatchImage], loader: Loader) -> dict[BatchImage, Content | ImageFailure]:
    """Let a loader fetch and hash a chunk; images it has no room for are left out."""
    replies = {reply["number"]: reply for reply in loader.fetch([image.uri for image in chunk])}
    contents: dict[BatchImage, Content | ImageFailure] = {}
    for number, image in enumerate(chunk):
        match replies[number]:
            case {"failure": code, "message": message}:
                contents[image] = failure_of(code, message)
            case {"sha256": digest, "size_bytes": size_bytes}:
                contents[image] = Content(bytes.fromhex(digest), size_bytes)
    return contents


def look_up(
    contents: Iterable[Content | ImageFailure], models: Models, work: Work
) -> dict[ScoreKey, KnownScore]:
    """Return the scores that these contents have already by these very models."""
    digests = {content.sha256 for content in contents if isinstance(content, Content)}
    with work.engine.begin() as connection:
        return known_scores(connection, sorted(digests), list(models))


def prepare(
    contents: Mapping[BatchImage, Content | ImageFailure],
    known: Mapping[ScoreKey, KnownScore],
    models: Models,
    loader: Loader,
) -> dict[bytes, Prepared | ImageFailure]:
    """Decode each content once that some model has not scored, by SHA-256.

    Models that want the same pixels share them.
    """
    steps = {row: model.steps for row, model in models.items()}
    ways = list(dict.fromkeys(steps.values()))
    wanted: dict[bytes, tuple[int, Content]] = {}
    for number, content in enumerate(contents.values()):
        if isinstance(content, Content) and any(
            (content.sha256, row) not in known for row in models
        ):
            wanted.setdefault(content.sha256, (number, content))
    by_number = dict(wanted.values())
    prepared: dict[bytes, Prepared | ImageFailure] = {}
    for reply in loader.decode(list(by_number), [way and asdict(way) for way in ways]):
        content = by_number[reply["number"]]
        match reply:
            case {"failure": code, "message": message}:
                prepared[content.sha256] = failure_of(code, message)
            case {"content": facts, "pixels": places}:
                pixels = [read_pixels(loader, place) for place in places]
                prepared[content.sha256] = Prepared(
                    replace(content, **facts),
                    {row: pixels[ways.index(way)] for row, way in steps.items()},
                )
    return prepared


def read_pixels(loader: Loader, place: Mapping[str, Any]) -> Pixels:
    """Copy an image's pixels out of the memory shared with a loader, [height, width, 3]."""
    shape = tuple(place["shape"])
    return np.frombuffer(loader.pixels(place["offset"], math.prod(shape)), np.uint8).reshape(shape)


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
