"""Messages of a queue: a valid one, and malformed ones of every kind."""

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

from fakesweep.schema.message import BatchMessage
from fakesweep.schema.queues import CLASSIFY_BATCH

Envelope = dict[str, Any]

EXTRAS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def envelope(message: BatchMessage) -> Envelope:
    """Return a message in the form of Celery's publisher."""
    return {
        "body": encoded([[message.to_json()], {}, EXTRAS]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py", "task": CLASSIFY_BATCH, "id": "9a9c06a5", "shadow": None, "eta": None,
            "expires": None, "group": None, "group_index": None, "retries": 0,
            "timelimit": [None, None], "root_id": "9a9c06a5", "parent_id": None,
            "argsrepr": "[…]", "kwargsrepr": "{}", "origin": "gen1@vm", "ignore_result": False,
            "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
        },
        "properties": {
            "correlation_id": "9a9c06a5", "reply_to": "15a8338f", "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": message.lane.value}, "priority": 0,
            "body_encoding": "base64", "delivery_tag": "de018b56",
        },
    }  # fmt: skip


def encoded(body: object) -> str:
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    return base64.b64encode(written).decode()


def dead_letters(message: BatchMessage) -> dict[str, bytes]:
    """Return one dead letter of every kind, made from a valid message."""
    whole = envelope(message)
    asked = message.to_json()

    def changed(change: Callable[[Envelope], object]) -> bytes:
        one = copy.deepcopy(whole)
        change(one)
        return json.dumps(one).encode()

    def saying(*body: object) -> bytes:
        [written] = body
        return changed(lambda one: one.update(body=encoded(written)))

    def headed(**headers: object) -> bytes:
        return changed(lambda one: one["headers"].update(headers))

    def owning(**properties: object) -> bytes:
        return changed(lambda one: one["properties"].update(properties))

    def typed(content_type: str) -> bytes:
        return changed(lambda one: one.update({"content-type": content_type}))

    def without(*path: str) -> bytes:
        def cut(one: Envelope) -> None:
            for name in path[:-1]:
                one = one[name]
            del one[path[-1]]

        return changed(cut)

    def batch(**fields: object) -> bytes:
        return saying([[asked | fields], {}, EXTRAS])

    bare: tuple[object, ...] = (None, 5, [], {}, "text", [[], {}])
    return {
        "bytes": b"\xff\xfe\x00garbage",
        "text": b"hello",
        "nothing": b"",
        "deep JSON": b"[" * 100_000,
        "a type of kombu's": b'{"__type__": "datetime", "__value__": 5}',
        **{f"JSON {plain}": json.dumps(plain).encode() for plain in bare},
        **{
            f"without {' '.join(path)}": without(*path)
            for path in (
                ("body",), ("headers",), ("properties",), ("content-type",), ("content-encoding",),
                ("headers", "task"), ("headers", "id"), ("properties", "delivery_tag"),
                ("properties", "delivery_info"), ("properties", "delivery_info", "exchange"),
            )
        },
        "headers in a list": changed(lambda one: one.update(headers=[1])),
        "properties in a list": changed(lambda one: one.update(properties=[1])),
        "pickled": typed("application/x-python-serialize"),
        "in YAML": typed("application/x-yaml"),
        "in no encoding": changed(lambda one: one.update({"content-encoding": "nonsense"})),
        "an unknown task": headed(task="no.such.task"),
        "a task in a list": headed(task=[]),
        "an id in an object": headed(id={}),
        "compressed": headed(compression="zlib"),
        "for later": headed(eta="2099-01-01T00:00:00+00:00"),
        "never": headed(eta="never"),
        "expired": headed(expires="2001-01-01T00:00:00+00:00"),
        "in limited time": headed(timelimit=5),
        "tried before": headed(retries="often"),
        "stamped": headed(stamped_headers=["a"], stamps={"a": 5}),
        "a tag in an object": owning(delivery_tag={}),
        "a body in rot13": owning(body_encoding="rot13"),
        "a body in no base64": changed(lambda one: one.update(body="a")),
        "a body of bytes": saying(b"\xff\xfe"),
        "a body of garbage": saying(b"{{{"),
        **{f"a body of {plain}": saying(plain) for plain in bare},
        "no arguments": saying([[], {}, EXTRAS]),
        "three arguments": saying([[asked, asked, asked], {}, EXTRAS]),
        "null arguments": saying([None, {}, EXTRAS]),
        "named arguments": saying([[asked], {"body": asked}, EXTRAS]),
        "null options": saying([[asked], None, EXTRAS]),
        "callbacks": saying([[asked], {}, EXTRAS | {"callbacks": 5}]),
        "an argument of text": saying([["garbage"], {}, EXTRAS]),
        "an argument of a list": saying([[[asked]], {}, EXTRAS]),
        "another version": batch(version=2),
        "no version": batch(version=None),
        "no batch": batch(batch_id="x"),
        "a batch below zero": batch(batch_id=-1),
        "no lane": batch(lane="fast"),
        "images of garbage": batch(images=[[1, 2, 3], "x"]),
        "images of nobody": batch(images=None),
        "a URI of bytes": batch(images=[[1, None]]),
        "NUL and an escape": batch(version="\x00\x1b[31m"),
    }  # fmt: skip
