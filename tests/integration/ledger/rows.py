"""Rows for tests, made by the application's statements: scans, batches, models and outcomes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, RowMapping, text

from fakesweep.schema.failures import FailureCode
from fakesweep.schema.judging.labels import read_labels
from fakesweep.schema.ledger.batches.contents import Content
from fakesweep.schema.ledger.batches.leases import Claim, claim_batch
from fakesweep.schema.ledger.batches.outcomes import (
    Failure,
    Judgement,
    Outcome,
    known_scores,
    store_outcomes,
)
from fakesweep.schema.ledger.batches.publishing import take_recorded
from fakesweep.schema.ledger.registry.models import ModelIdentity, register_model
from fakesweep.schema.ledger.registry.policies import policy_id
from fakesweep.schema.ledger.scans.listing import end_listing
from fakesweep.schema.ledger.scans.scans import ListedImage, add_scan
from fakesweep.schema.message import BatchImage, BatchMessage
from fakesweep.schema.selection import Selection
from fakesweep.schema.words import Kind, Lane
from tests.support.batches import end_source, record_batch

WORKER = uuid4()


def rows(engine: Engine, sql: str, **parameters: Any) -> list[RowMapping]:
    with engine.connect() as connection:
        return list(connection.execute(text(sql), parameters).mappings())


def tuples(engine: Engine, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in rows(engine, sql, **parameters)]


def value(engine: Engine, sql: str, **parameters: Any) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(sql), parameters).scalar_one()


def run(engine: Engine, sql: str, **parameters: Any) -> None:
    with engine.begin() as connection:
        connection.execute(text(sql), parameters)


def identity(
    key: str = "tiny",
    revision: str = "r1",
    fingerprint: str = "f1",
    names: Sequence[str] = ("real", "fake"),
) -> ModelIdentity:
    labels = read_labels(key, names, None)
    return ModelIdentity(key, f"owner/{key}", revision, fingerprint, "ViT", {"size": 8}, labels)


def add_model(engine: Engine, key: str = "tiny", **parts: Any) -> int:
    with engine.begin() as connection:
        return register_model(connection, identity(key, **parts))


def ask(
    engine: Engine,
    *,
    name: str | None = None,
    lane: Lane = Lane.BULK,
    policy: str = "default",
    models: Sequence[str] = ("tiny",),
    sources: Sequence[tuple[str, str | None]] = (("s3://photos/", None),),
    is_audit: bool = False,
    selection: Selection = Selection(),  # noqa: B008 - frozen
) -> int:
    """Record a scan; return its row."""
    with engine.begin() as connection:
        return add_scan(
            connection,
            name=name,
            lane=lane,
            policy_id=policy_id(connection, policy, None),
            model_keys=models,
            sources=sources,
            is_audit=is_audit,
            selection=selection,
        )


def listed(uris: Sequence[str]) -> list[ListedImage]:
    return [ListedImage(uri, cursor=uri) for uri in uris]


def record(engine: Engine, scan_id: int, uris: Sequence[str], position: int = 0) -> int:
    """Record one batch; return the number of its images."""
    with engine.begin() as connection:
        added = record_batch(connection, scan_id, position, listed(uris))
    assert added is not None
    return added


def end(engine: Engine, scan_id: int) -> None:
    with engine.begin() as connection:
        end_source(connection, scan_id, 0)
        end_listing(connection, scan_id)


def take(engine: Engine, lane: Lane = Lane.BULK, window: int = 1_000) -> list[BatchMessage]:
    with engine.begin() as connection:
        return take_recorded(connection, lane, window)


def take_one(engine: Engine, lane: Lane = Lane.BULK) -> BatchMessage:
    (message,) = take(engine, lane)
    return message


def claim(
    engine: Engine, batch_id: int, worker_id: UUID = WORKER, lease_seconds: float = 60.0
) -> Claim | None:
    with engine.begin() as connection:
        return claim_batch(connection, batch_id, worker_id, lease_seconds)


def claimed(engine: Engine, batch_id: int, worker_id: UUID = WORKER) -> Claim:
    found = claim(engine, batch_id, worker_id)
    assert found is not None
    return found


def store(
    engine: Engine, claim: Claim, outcomes: Sequence[Outcome], worker_id: UUID = WORKER
) -> bool:
    with engine.begin() as connection:
        return store_outcomes(connection, claim, worker_id, outcomes)


def content_of(seed: object, **facts: Any) -> Content:
    """Return the content of a seed, different for each."""
    digest = hashlib.sha256(repr(seed).encode()).digest()
    return replace(Content(digest, 1_000, 64, 48, "JPEG", 1), **facts)


def judged(
    claim: Claim,
    image: BatchImage,
    content: Content,
    p_fakes: Mapping[int, float],
    *,
    known: bool = False,
    kind: Kind = Kind.UNKNOWN,
) -> Outcome:
    """Return a worker's outcome: scores of each model, or only known ones."""
    return Outcome(
        image.image_id,
        content,
        tuple(
            Judgement(model, p, kind, claim.policy.judge(p), None if known else (1.0 - p, p))
            for model, p in p_fakes.items()
        ),
    )


def failed(
    image: BatchImage,
    code: FailureCode = FailureCode.NOT_FOUND,
    message: str = "the object is gone",
    content: Content | None = None,
) -> Outcome:
    return Outcome(image.image_id, content, (), Failure(code, message))


def scan(
    engine: Engine, p_fakes: Mapping[str, Mapping[int, float]], **asked: Any
) -> tuple[int, list[BatchImage]]:
    """Complete a scan: each URI has a content of its own, with these scores."""
    scan_id = ask(engine, **asked)
    record(engine, scan_id, list(p_fakes))
    end(engine, scan_id)
    message = take_one(engine, asked.get("lane", Lane.BULK))
    held = claimed(engine, message.batch_id)
    outcomes = []
    for image in message.images:
        content = content_of(image.uri)
        with engine.connect() as connection:
            known = known_scores(connection, [content.sha256], list(p_fakes[image.uri]))
        outcomes.append(judged(held, image, content, p_fakes[image.uri], known=bool(known)))
    assert store(engine, held, outcomes)
    return scan_id, list(message.images)
