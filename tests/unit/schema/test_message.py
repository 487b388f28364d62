import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesweep.schema.message import (
    MESSAGE_VERSION,
    BatchImage,
    BatchMessage,
    UnreadableMessage,
    read_message,
)
from fakesweep.schema.words import Lane

IDS = st.integers(1, 2**63 - 1)
MESSAGES = st.builds(
    BatchMessage,
    batch_id=IDS,
    scan_id=IDS,
    lane=st.sampled_from(Lane),
    images=st.lists(st.builds(BatchImage, IDS, st.text()), max_size=5).map(tuple),
    attempt=st.none() | st.integers(0),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(MESSAGES)
def test_a_message_comes_back_from_json(message: BatchMessage) -> None:
    assert read_message(json.loads(json.dumps(message.to_json()))) == message


def test_a_message_is_short_and_readable() -> None:
    message = BatchMessage(7, 3, Lane.LIVE, (BatchImage(70, "s3://photos/a.jpg"),), attempt=2)
    assert json.dumps(message.to_json()) == (
        '{"version": 1, "batch_id": 7, "scan_id": 3, "lane": "live", '
        '"images": [[70, "s3://photos/a.jpg"]], "attempt": 2}'
    )


@given(JSON)
def test_garbage_is_unreadable_and_raises_nothing_else(body: Any) -> None:
    with pytest.raises(UnreadableMessage):
        read_message(body)


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_another_version_is_named(version: object) -> None:
    body = {**_body(), "version": version}
    with pytest.raises(UnreadableMessage, match=f"reads version {MESSAGE_VERSION}"):
        read_message(body)


@pytest.mark.parametrize(
    "change",
    [
        {"batch_id": None}, {"batch_id": "7"}, {"batch_id": 7.5}, {"batch_id": True},
        {"batch_id": 0}, {"batch_id": 2**63}, {"batch_id": float("inf")}, {"scan_id": -1},
        {"lane": "slow"}, {"lane": []}, {"images": None}, {"images": 5}, {"images": ["1x"]},
        {"images": [[1]]}, {"images": [[1, "a", 2]]}, {"images": [["1", "s3://b/k"]]},
        {"images": [[1, None]]}, {"images": {"1": "s3://b/k"}}, {"attempt": -1},
        {"attempt": "1"}, {"attempt": 1.0}, {"attempt": True}, {"attempt": [1]}, {"attempt": {}},
    ],
)  # fmt: skip
def test_a_part_that_makes_no_sense_makes_the_message_unreadable(change: dict[str, Any]) -> None:
    assert read_message(_body()).batch_id == 7
    with pytest.raises(UnreadableMessage, match="cannot be read"):
        read_message({**_body(), **change})


@pytest.mark.parametrize("part", ["batch_id", "scan_id", "lane", "images"])
def test_a_missing_part_makes_the_message_unreadable(part: str) -> None:
    body = _body()
    del body[part]
    with pytest.raises(UnreadableMessage, match=part):
        read_message(body)


@pytest.mark.parametrize("attempt", [None, 0, 1, 2**31])
def test_a_message_says_by_which_attempt_it_was_published(attempt: int | None) -> None:
    assert read_message({**_body(), "attempt": attempt}).attempt == attempt


def test_a_message_by_hand_need_not_say_so() -> None:
    body = _body()
    del body["attempt"]
    assert read_message(body).attempt is None


def _body() -> dict[str, Any]:
    return BatchMessage(7, 3, Lane.BULK, (BatchImage(70, "s3://b/k"),)).to_json()
