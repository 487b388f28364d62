"""A chunk of images in a loader: fetched, its known scores looked up, what is new prepared."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import structlog

from schema.failures import CorruptImage, ImageFailure, failure_of
from schema.message import BatchImage
from schema.results import Content, KnownScore, known_scores
from workers.loaders import Loader, LoaderLost
from workers.models.load import LoadedModel
from workers.models.preprocess import Pixels
from workers.stages import Stage
from workers.work import Work

log = structlog.get_logger(__name__)

Models = Mapping[int, LoadedModel]
"""The models of a scan, by their row in the ledger."""

ScoreKey = tuple[bytes, int]
"""SHA-256 of a content, and a model's row."""


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
                return Loaded(contents, prepare(chunk, contents, known, models, loader))
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
    chunk: Sequence[BatchImage],
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
    for number, image in enumerate(chunk):  # the loader knows images by their place in the chunk
        content = contents.get(image)
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
