"""Chunk of images in a loader: fetch it, look up known scores, prepare the new contents."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from fakesweep.schema.failures import ImageFailure, failure_of
from fakesweep.schema.ledger.batches.contents import Content
from fakesweep.schema.ledger.batches.outcomes import KnownScore, known_scores
from fakesweep.schema.message import BatchImage
from fakesweep.schema.words import Lane
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.pipeline.score_cache import ScoreKey, Scores
from fakesweep.workers.pipeline.throughput import Stage
from fakesweep.workers.sandbox.facts import with_facts
from fakesweep.workers.sandbox.losses import LoaderLost, Trials
from fakesweep.workers.sandbox.pool import LoaderHandle
from fakesweep.workers.sandbox.preprocess import Pixels

if TYPE_CHECKING:
    from fakesweep.workers.models.load import LoadedModel

CHUNK_IMAGES = 64
"""Images that a loader processes at once."""

log = structlog.get_logger(__name__)

Models = Mapping[int, "LoadedModel"]
"""Models of a scan by ledger id."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded content: its facts, and its pixels after each model's preprocessing."""

    content: Content
    pixels: Mapping[int, Pixels]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A loaded chunk: the content or failure of each image, and the pixels of new contents.

    `known` are scores from the ledger, `repeated` those from the score cache. `fetched` are
    contents of unfinished images, whose loader may be lost.
    """

    contents: dict[BatchImage, Content | ImageFailure] = field(default_factory=dict)
    known: dict[ScoreKey, KnownScore] = field(default_factory=dict)
    repeated: dict[ScoreKey, Scores] = field(default_factory=dict)
    prepared: dict[bytes, Prepared | ImageFailure] = field(default_factory=dict)
    fetched: dict[BatchImage, Content] = field(default_factory=dict)

    def has(self, digest: bytes, model_row: int) -> bool:
        """Return whether this model has scored this content."""
        key = (digest, model_row)
        return key in self.known or key in self.repeated

    def settles(self, content: Content | ImageFailure, models: Models) -> bool:
        """Return whether a fetched image is done with its loader."""
        return (
            isinstance(content, ImageFailure)
            or content.sha256 in self.prepared
            or all(self.has(content.sha256, row) for row in models)
        )

    def fail(self, image: BatchImage, failure: ImageFailure) -> None:
        """Fail an image, with or without a known content."""
        content = self.fetched.get(image)
        if content is None:
            self.contents[image] = failure
        else:
            self.contents[image] = content
            self.prepared[content.sha256] = failure


def chunked(images: Sequence[BatchImage]) -> Iterator[Sequence[BatchImage]]:
    """Split a batch's images into chunks, in order."""
    for start in range(0, len(images), CHUNK_IMAGES):
        yield images[start : start + CHUNK_IMAGES]


def load(
    chunk: Sequence[BatchImage],
    models: Models,
    work: Work,
    known: Mapping[int, Content],
    lane: Lane,
) -> Loaded:
    """Fetch a chunk, find its known scores, and prepare new contents, in one loader process.

    Images with `known` contents that every model has scored are not fetched. A lost loader is
    replaced for the remaining images; `Trials` decides which image is to blame.
    """
    loaded = recall(chunk, models, work, known)
    trials = Trials()
    while left := _left(chunk, loaded):
        together = trials.next(left)
        time.sleep(trials.pause_seconds)
        tried = together
        try:
            with work.loaders.one(lane) as loader:
                while tried := _left(together, loaded):
                    load_some(tried, models, loader, loaded, work)
        except LoaderLost as lost:
            log.warning("loader_lost", images=len(tried), reason=str(lost))
            found = trials.blame(lost, tried, _left(tried, loaded))
            if found is not None:
                loaded.fail(*found)
    in_order = {image: loaded.contents[image] for image in chunk}
    return replace(loaded, contents=in_order)


def _left(chunk: Sequence[BatchImage], loaded: Loaded) -> list[BatchImage]:
    """Return the unfinished images."""
    return [image for image in chunk if image not in loaded.contents]


def recall(
    chunk: Sequence[BatchImage], models: Models, work: Work, known: Mapping[int, Content]
) -> Loaded:
    """Return the images with known contents that every model has scored; these skip the fetch."""
    loaded = Loaded()
    contents = {image: known[image.image_id] for image in chunk if image.image_id in known}
    if contents:
        loaded.known.update(look_up({one.sha256 for one in contents.values()}, models, work))
    for image, content in contents.items():
        if all((content.sha256, row) in loaded.known for row in models):
            loaded.contents[image] = content
    return loaded


def load_some(
    chunk: Sequence[BatchImage], models: Models, loader: LoaderHandle, loaded: Loaded, work: Work
) -> None:
    """Load images of a chunk into `loaded`, as many as fit into the loader."""
    with work.stages.timed(Stage.FETCH, len(chunk)):
        contents = fetch(chunk, loader)
    with work.stages.timed(Stage.LOOK_UP, len(contents)):
        digests = {one.sha256 for one in contents.values() if isinstance(one, Content)}
        loaded.known.update(look_up(digests, models, work))
        keys = ((digest, row) for digest in digests for row in models)
        loaded.repeated.update(
            work.score_cache.find(key for key in keys if key not in loaded.known)
        )
    loaded.fetched.update(
        {image: one for image, one in contents.items() if isinstance(one, Content)}
    )
    try:
        with work.stages.timed(Stage.DECODE, len(contents)):
            for digest, prepared in prepare(chunk, contents, loaded, models, loader):
                loaded.prepared[digest] = prepared
    finally:
        loaded.contents.update(
            {image: one for image, one in contents.items() if loaded.settles(one, models)}
        )


def fetch(
    chunk: Sequence[BatchImage], loader: LoaderHandle
) -> dict[BatchImage, Content | ImageFailure]:
    """Fetch and hash a chunk in a loader; images that do not fit are omitted."""
    replies = {reply["number"]: reply for reply in loader.fetch([image.uri for image in chunk])}
    contents: dict[BatchImage, Content | ImageFailure] = {}
    for number, image in enumerate(chunk):
        match replies[number]:
            case {"failure": code, "message": message}:
                contents[image] = failure_of(code, message)
            case {"sha256": digest, "size_bytes": size_bytes}:
                contents[image] = Content(bytes.fromhex(digest), size_bytes)
    return contents


def look_up(digests: Iterable[bytes], models: Models, work: Work) -> dict[ScoreKey, KnownScore]:
    """Return the ledger's scores of these contents by these models."""
    wanted = sorted(digests)
    return work.ledger_retry.run(lambda connection: known_scores(connection, wanted, list(models)))


def prepare(
    chunk: Sequence[BatchImage],
    contents: Mapping[BatchImage, Content | ImageFailure],
    loaded: Loaded,
    models: Models,
    loader: LoaderHandle,
) -> Iterator[tuple[bytes, Prepared | ImageFailure]]:
    """Decode each content with a missing score once; yield it by its SHA-256.

    Models with equal preprocessing share the pixels.
    """
    steps = {row: model.steps for row, model in models.items()}
    variants = list(dict.fromkeys(steps.values()))
    wanted: dict[bytes, tuple[int, Content]] = {}
    for number, image in enumerate(chunk):  # the loader's image numbers
        content = contents.get(image)
        if isinstance(content, Content) and not loaded.settles(content, models):
            wanted.setdefault(content.sha256, (number, content))
    by_number = dict(wanted.values())
    for reply, pixels in loader.decode(
        list(by_number), [variant and asdict(variant) for variant in variants]
    ):
        content = by_number[reply["number"]]
        match reply:
            case {"failure": code, "message": message}:
                yield content.sha256, failure_of(code, message)
            case {"content": facts}:
                one = Prepared(
                    with_facts(content, facts, reply["number"]),
                    {row: pixels[variants.index(variant)] for row, variant in steps.items()},
                )
                yield content.sha256, one
