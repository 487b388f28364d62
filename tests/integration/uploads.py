"""Uploads for tests, and their state in ledger and broker."""

import base64
import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import redis
from sqlalchemy import Engine, text

from fakesweep.producer.resources import Producer
from fakesweep.producer.uploads import Submitted, Upload, Uploads
from fakesweep.schema.words import Lane
from tests.support.servers import wait_until

HOLD = "LOCK TABLE ledger.images IN SHARE MODE"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


def uris(count: int, prefix: str = "a") -> list[str]:
    return [f"s3://photos/{prefix}/{number}.jpg" for number in range(count)]


def uploads_of(*found: str) -> list[Upload]:
    return [Upload(uri) for uri in found]


def one(engine: Engine, sql: str) -> object:
    with engine.connect() as connection:
        return connection.execute(text(sql)).scalar_one()


def images(engine: Engine, ids: Sequence[int]) -> list[str]:
    """Return the URIs of images, in the order of their rows as given."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT image_id, uri FROM ledger.images WHERE image_id = ANY(:ids)"),
            {"ids": list(ids)},
        )
        found = {row.image_id: str(row.uri) for row in rows}
    return [found[image_id] for image_id in ids]


def check_counts(engine: Engine, count: int) -> None:
    """Check that every image is recorded once, in a batch that counts it."""
    assert one(engine, "SELECT count(*) FROM ledger.images") == count
    assert one(engine, "SELECT coalesce(sum(image_count), 0) FROM ledger.batches") == count
    miscounted = """SELECT count(*) FROM ledger.batches b WHERE image_count = 0 OR image_count <>
        (SELECT count(*) FROM ledger.images i WHERE i.batch_id = b.batch_id)"""
    assert one(engine, miscounted) == 0


def in_queue(producer: Producer, lane: Lane = Lane.LIVE) -> list[str]:
    """Return the URIs in a lane's queue."""
    found = []
    with redis.Redis.from_url(producer.settings.broker_url or "") as broker:
        for raw in broker.lrange(lane.value, 0, -1):
            message = json.loads(raw)
            body = json.loads(base64.b64decode(message["body"]))
            found += [uri for _, uri in body[0][0]["images"]]
    return found


def submit_while_held(
    engine: Engine, threads: ThreadPoolExecutor, uploads: Uploads, all_uris: Sequence[str]
) -> list[Future[Submitted]]:
    """Submit URIs one by one while the first transaction is blocked, then release it."""
    with engine.begin() as connection:
        connection.execute(text(HOLD))
        first = threads.submit(uploads.submit, uploads_of(all_uris[0]))
        wait_until(lambda: one(engine, WAITING) == 1, "the first is being recorded")
        rest = [threads.submit(uploads.submit, uploads_of(uri)) for uri in all_uris[1:]]
        wait_until(lambda: len(uploads._waiting) == len(rest), "the others gather")
    return [first, *rest]
