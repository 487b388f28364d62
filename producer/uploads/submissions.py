"""Submissions: prepared one by one, and recorded together in one transaction."""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from uuid import uuid4

from sqlalchemy import Connection

from fakesweep.producer.resources import Producer
from fakesweep.schema.errors import SubmissionConflict
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.judging.catalogue import DEFAULT_MODEL, DEFAULT_POLICY
from fakesweep.schema.ledger.registry.policies import policy_id
from fakesweep.schema.ledger.scans.listing import MAX_BATCH_URI_BYTES
from fakesweep.schema.ledger.uploads import (
    KeptSubmission,
    Sighting,
    Stream,
    Upload,
    add_submission,
    known_images,
    lock_keys,
    open_scan,
    record_uploads,
)
from fakesweep.schema.net.storage import one_line
from fakesweep.schema.reasons import storable
from fakesweep.schema.uris import normalise
from fakesweep.schema.words import Lane

MAX_NAME_BYTES = 128
"""Limit beyond which a key or occurrence is stored as its digest, to fit PostgreSQL's indexes."""

_LARGEST_SIZE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Submitted:
    """Result of a submission; `image_ids` are in the order of its uploads.

    `is_repeated` is set where the key was known, and the result is that of the first submission.
    """

    scan_id: int
    image_ids: tuple[int, ...]
    is_repeated: bool = False


@dataclass(eq=False, slots=True)
class PendingSubmission:
    """Submission before its commit; `answer` is set once it is committed.

    `occurrence` is the default for uploads without one. `may_be_known` is set where images may be
    in the ledger already; `is_given_up`, where the submitter has stopped waiting.
    """

    uploads: tuple[Upload, ...]
    key: str | None
    digest: bytes
    occurrence: str
    may_be_known: bool
    is_given_up: bool = False
    at_seconds: float = field(default_factory=time.monotonic)
    answer: "Future[Submitted]" = field(default_factory=Future)

    def image_ids(self, images: dict[Sighting, int]) -> tuple[int, ...]:
        """Return the image ids of the uploads, in their order."""
        return tuple(images[_sighting(upload)] for upload in self.uploads)


def stream_of(
    producer: Producer,
    name: str,
    lane: Lane,
    models: Sequence[str] = (),
    policy: str = DEFAULT_POLICY,
) -> Stream:
    """Return a stream judged by the given models, those of the settings, or the default one.

    Raises:
        CatalogueError: a model is unknown.
    """
    chosen = models or producer.settings.models or (DEFAULT_MODEL,)
    entries = [producer.catalogue.model(reference) for reference in chosen]
    return Stream(name, lane, policy, tuple(dict.fromkeys(entry.key for entry in entries)))


def store_policy(producer: Producer, stream: Stream) -> None:
    """Store the stream's policy with the cut points of the operator's catalogue, if any.

    Raises:
        CatalogueError: the policy is unknown.
    """
    wanted = producer.catalogue.policies.get(stream.policy)
    with producer.engine.begin() as connection:
        policy_id(connection, stream.policy, wanted)


def prepare_submission(
    uploads: Sequence[Upload], key: str | None, about: Sequence[str]
) -> PendingSubmission:
    """Return a submission with normalised URIs; `about` is hashed into the key's digest too.

    Raises:
        InvalidUri: a URI is invalid; the message names the upload.
    """
    occurrence = uuid4().hex
    uris = [_normalised(number, upload.uri) for number, upload in enumerate(uploads, start=1)]
    asked = [[uri, upload.occurrence] for uri, upload in zip(uris, uploads, strict=True)]
    return PendingSubmission(
        tuple(_cleaned(upload, uri, occurrence) for uri, upload in zip(uris, uploads, strict=True)),
        None if key is None else short(key),
        hashlib.sha256(json.dumps([*about, asked]).encode()).digest(),
        occurrence,
        may_be_known=any(upload.occurrence for upload in uploads),
    )


def record_together(
    connection: Connection,
    stream: Stream,
    submissions: Sequence[PendingSubmission],
    batch_images: int,
) -> list[Submitted | SubmissionConflict]:
    """Record submissions to one stream; return the result of each, in order.

    Uploads known to the stream keep their images. Keys and sightings are locked in sorted order,
    which prevents deadlocks.
    """
    answered = lock_keys(connection, [one.key for one in submissions if one.key is not None])
    fresh: list[PendingSubmission] = []
    for one in submissions:
        if one.key is None or one.key not in answered:
            fresh.append(one)
            if one.key is not None:
                answered[one.key] = KeptSubmission(one.key, one.digest, one.occurrence, 0, ())
    if not fresh:
        return [_repeated(one, answered[one.key or ""]) for one in submissions]
    scan_id, images = _record(connection, stream, fresh, batch_images)
    for one in fresh:
        if one.key is not None:
            answered[one.key] = answered[one.key]._replace(
                scan_id=scan_id, image_ids=list(one.image_ids(images))
            )
            add_submission(connection, answered[one.key])
    return [
        Submitted(scan_id, one.image_ids(images))
        if one.key is None
        else _repeated(one, answered[one.key])
        for one in submissions
    ]


def short(name: str) -> str:
    """Return a name that fits an index: itself, or its digest."""
    name = storable(name)
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()


def _record(
    connection: Connection,
    stream: Stream,
    submissions: Iterable[PendingSubmission],
    batch_images: int,
) -> tuple[int, dict[Sighting, int]]:
    wanted: dict[Sighting, Upload] = {}
    named: set[Sighting] = set()
    for one in submissions:
        sightings = {_sighting(upload): upload for upload in one.uploads}
        wanted |= sightings
        if one.may_be_known:
            named |= sightings.keys()
    scan_id = open_scan(connection, stream)
    images = known_images(connection, stream, sorted(named))
    left = [wanted[sighting] for sighting in sorted(wanted.keys() - images.keys())]
    for batch in _batched(left, batch_images):
        images |= record_uploads(connection, scan_id, batch)
    # Another process recorded these concurrently.
    images |= known_images(connection, stream, sorted(wanted.keys() - images.keys()))
    return scan_id, images


def _batched(uploads: Iterable[Upload], size: int) -> Iterator[list[Upload]]:
    batch: list[Upload] = []
    uri_bytes = 0
    for upload in uploads:
        batch.append(upload)
        uri_bytes += len(json.dumps(upload.uri))
        if len(batch) == size or uri_bytes >= MAX_BATCH_URI_BYTES:
            yield batch
            batch, uri_bytes = [], 0
    if batch:
        yield batch


def _repeated(one: PendingSubmission, submission: KeptSubmission) -> Submitted | SubmissionConflict:
    if submission.digest != one.digest:
        return SubmissionConflict(
            f"key {one_line(one.key or '')!r} was used before, for other uploads; "
            f"take a key of its own for each submission"
        )
    is_repeated = submission.occurrence != one.occurrence
    return Submitted(submission.scan_id, tuple(submission.image_ids), is_repeated)


def _sighting(upload: Upload) -> Sighting:
    return Sighting(upload.uri, upload.occurrence)


def _cleaned(upload: Upload, uri: str, occurrence: str) -> Upload:
    size = upload.size_bytes
    return replace(
        upload,
        uri=uri,
        occurrence=short(upload.occurrence) or occurrence,
        size_bytes=size if size is not None and 0 <= size <= _LARGEST_SIZE else None,
    )


def _normalised(number: int, uri: str) -> str:
    try:
        return normalise(uri)
    except InvalidUri as error:
        raise InvalidUri(f"upload {number}, {one_line(uri)!r}: {error}") from error
