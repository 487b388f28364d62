import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport.virtual import Channel, Message
from kombu.utils.json import loads

from fakesweep.schema.message import BatchImage, BatchMessage, UnreadableMessage
from fakesweep.schema.words import Lane
from fakesweep.workers.broker.envelope import check_body, open_envelope
from tests.support.dead_letters import EXTRAS, dead_letters, encoded, envelope

MESSAGE = BatchMessage(7, 3, Lane.BULK, (BatchImage(1, "s3://bucket/ä.jpg"),), attempt=0)
LETTERS = dead_letters(MESSAGE)

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)


def check(raw: bytes) -> None:
    check_body(open_envelope(raw))


def test_a_message_of_ours_is_read() -> None:
    check(json.dumps(envelope(MESSAGE)).encode())


def test_a_message_may_be_written_by_hand() -> None:
    by_hand = envelope(MESSAGE)
    by_hand["body"] = json.dumps([[MESSAGE.to_json() | {"attempt": None}], {}, None])
    del by_hand["properties"]["body_encoding"]
    by_hand["headers"] = {"task": "fakesweep.classify_batch", "id": "by-hand"}
    check(json.dumps(by_hand).encode())


def test_headers_that_others_add_on_the_way_do_no_harm() -> None:
    traced = envelope(MESSAGE)
    traced["headers"]["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    check(json.dumps(traced).encode())


@pytest.mark.parametrize("kind", sorted(LETTERS))
def test_a_dead_letter_is_refused_with_a_reason(kind: str) -> None:
    with pytest.raises(UnreadableMessage, match=r"\A\S.{8,300}\Z"):
        check(LETTERS[kind])


def test_the_reason_names_the_place_and_what_stands_there() -> None:
    with pytest.raises(UnreadableMessage, match=r"headers\.task is 'no\.such\.task'"):
        check(LETTERS["an unknown task"])
    with pytest.raises(UnreadableMessage, match="version 2, this worker reads version 1"):
        check(LETTERS["another version"])


def places(node: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


@given(st.integers(0), plain, st.booleans())
def test_what_passes_is_read_by_the_transport_just_so(seed: int, put: Any, cut: bool) -> None:
    whole = {**envelope(MESSAGE), "body": [[MESSAGE.to_json()], {}, EXTRAS]}
    changed = copy.deepcopy(whole)
    path = random.Random(seed).choice(places(whole)[1:])
    parent: Any = changed
    for key in path[:-1]:
        parent = parent[key]
    if cut:
        del parent[path[-1]]
    else:
        parent[path[-1]] = put
    if "body" in changed:
        changed["body"] = encoded(changed["body"])
    raw = json.dumps(changed).encode()
    try:
        check(raw)
    except UnreadableMessage:
        return
    channel = object.__new__(Channel)  # decodes bodies, and opens no connection
    message = Message(loads(raw), channel)
    arguments, options, _ = message.decode()
    assert isinstance(arguments, list)
    assert len(arguments) == 1
    assert options == {}
    assert message.delivery_info.keys() >= {"exchange", "routing_key"}
    hash(message.delivery_tag)
