"""Faults of messages: duplicate, malformed, forged and swapped messages, duplicate scans."""

import base64
import json
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any
from uuid import uuid4

import redis

from fakesweep.schema.message import BatchImage, BatchMessage
from fakesweep.schema.queues import CLASSIFY_BATCH, QUEUES
from fakesweep.schema.words import Lane
from tests.chaos.broker import UNACKNOWLEDGED
from tests.chaos.cluster import Cluster
from tests.chaos.faults import Injected, fault
from tests.chaos.probes import asked, both, finished, moves

_OPEN = """
    SELECT b.batch_id, b.scan_id, b.lane::text, b.attempt,
           array_agg(i.image_id ORDER BY i.image_id), array_agg(i.uri ORDER BY i.image_id)
    FROM ledger.batches b JOIN ledger.images i USING (batch_id)
    WHERE b.state IN ('recorded', 'published') GROUP BY b.batch_id ORDER BY b.batch_id LIMIT 20
"""
_PUT_ASIDE = "SELECT count(*) FROM unreadable_messages"


@fault(share=4)
def message_twice(cluster: Cluster, _draw: Random) -> Injected:
    """Duplicate every waiting or taken message."""
    client, copies = cluster.broker.client, 0
    with suppress(redis.RedisError):
        for queue in QUEUES:
            for message in client.lrange(queue, 0, -1):
                client.rpush(queue, _copied(json.loads(message)))
                copies += 1
        for kept in client.hvals(UNACKNOWLEDGED):
            message, _, queue = json.loads(kept)
            client.rpush(queue, _copied(message))
            copies += 1
    return Injected("broker", moves(cluster), detail=f"{copies} messages")


@fault(share=3)
def message_unreadable(cluster: Cluster, draw: Random) -> Injected:
    """Add a malformed message: another version, a foreign one, an unknown task, or noise."""
    bodies: list[str | bytes] = [
        _envelope([{"version": 99, "batch_id": 1}]),
        _envelope(["garbage"]),
        _envelope([], task="no.such.task"),
        json.dumps({"neither": "envelope"}),
        b"\x00\xff no JSON at all",
    ]
    said = ("of version 99", "no message of ours", "an unknown task", "no envelope", "no JSON")
    [(before,)] = cluster.ledger.insist(_PUT_ASIDE)
    kind = draw.randrange(len(bodies))
    cluster.broker.client.rpush(draw.choice(QUEUES), bodies[kind])  # the next to be read
    put_aside = asked(lambda: cluster.ledger.ask(_PUT_ASIDE) > [(before,)])
    return Injected("broker", both(put_aside, moves(cluster)), detail=said[kind])


@fault(share=3)
def message_forged(cluster: Cluster, draw: Random) -> Injected:
    """Forge a batch's message: other images, missing images, or other URIs."""
    open_batches = cluster.ledger.insist(_OPEN)
    if len(open_batches) < 2:
        return Injected("broker", moves(cluster), detail="too little was open")
    one, other = map(_message, draw.sample(open_batches, 2))
    kind = draw.choice(("exchanged", "left out", "another's", "elsewhere"))
    forged = replace(one, images=_forged_images(kind, one, other))
    cluster.broker.client.rpush(forged.lane.value, _envelope([forged.to_json()]))
    again = finished(cluster, [one.batch_id, other.batch_id])
    return Injected("broker", both(again, moves(cluster)), detail=kind)


@fault(share=3)
def messages_swapped(cluster: Cluster, _draw: Random) -> Injected:
    """Swap the images of two waiting messages."""
    client, batches = cluster.broker.client, []
    waiting: list[Any] = client.lrange("bulk", 0, -1)[:2]
    if len(waiting) == 2:
        bodies = [json.loads(base64.b64decode(json.loads(one)["body"])) for one in waiting]
        first, second = (body[0][0] for body in bodies)
        first["images"], second["images"] = second["images"], first["images"]
        for raw, body in zip(waiting, bodies, strict=True):
            if client.lrem("bulk", 1, raw):
                batches.append(body[0][0]["batch_id"])
                client.rpush("bulk", _envelope(body[0]))
    again = both(finished(cluster, batches), moves(cluster))
    return Injected("broker", again, detail=f"{len(batches)} messages")


@fault(share=2)
def source_scanned_twice(cluster: Cluster, draw: Random) -> Injected:
    """Request another scan of photographs that are already scanned or being scanned."""
    prefix = draw.choice(cluster.storage.prefixes)
    scan_id = cluster.ask_for_scan(prefix)
    return Injected("producer", moves(cluster), detail=f"{prefix} as scan {scan_id}")


def _message(row: tuple[Any, ...]) -> BatchMessage:
    batch_id, scan_id, lane, attempt, images, uris = row
    named = tuple(map(BatchImage, images, uris))
    return BatchMessage(batch_id, scan_id, Lane(lane), named, attempt)


def _forged_images(kind: str, one: BatchMessage, other: BatchMessage) -> tuple[BatchImage, ...]:
    first, *rest = one.images
    match kind:
        case "exchanged":
            return (*rest, other.images[0])
        case "left out":
            return tuple(rest)
        case "another's":
            return other.images
    return (BatchImage(first.image_id, other.images[0].uri), *rest)


def _copied(message: dict[str, Any]) -> str:
    """Return the message with a new delivery tag, like a producer's second message."""
    message["properties"]["delivery_tag"] = str(uuid4())
    return json.dumps(message)


def _envelope(arguments: list[object], task: str = CLASSIFY_BATCH) -> str:
    body = base64.b64encode(json.dumps([arguments, {}, {}]).encode()).decode()
    return json.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"task": task, "id": str(uuid4()), "lang": "py"},
            "properties": {
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": "bulk"},
                "delivery_mode": 2,
                "delivery_tag": str(uuid4()),
            },
        }
    )
