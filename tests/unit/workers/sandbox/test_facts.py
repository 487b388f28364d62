"""What a loader says of a content is held to the facts it may set."""

from typing import Any

import pytest

from fakesweep.schema.ledger.batches.contents import Content
from fakesweep.schema.words import ReadAs
from fakesweep.workers.sandbox.facts import Facts, with_facts
from fakesweep.workers.sandbox.losses import LoaderLost
from fakesweep.workers.sandbox.process import FACTS

CONTENT = Content(b"\x01" * 32, 77)
SAID = {"width": 4, "height": 3, "format": "PNG", "frame_count": 1, "read_as": "scaled"}


def test_a_loader_says_these_facts_and_no_others() -> None:
    assert tuple(Facts.model_fields) == FACTS


def test_the_known_facts_are_taken_over() -> None:
    assert with_facts(CONTENT, SAID) == Content(b"\x01" * 32, 77, 4, 3, "PNG", 1, ReadAs.SCALED)


@pytest.mark.parametrize(
    "more",
    [
        {"sha256": "00" * 32}, {"size_bytes": 1}, {"content_id": 1}, {"width": "4"}, {"width": 0},
        {"height": 2**31}, {"height": -1}, {"height": 1.5}, {"frame_count": True},
        {"frame_count": None}, {"format": "x" * 600_000}, {"format": "png\n"}, {"format": 7},
        {"read_as": "whole"}, {"read_as": None},
    ],
)  # fmt: skip
def test_whatever_else_a_loader_says_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(LoaderLost, match="facts that cannot be"):
        with_facts(CONTENT, {**SAID, **more})


@pytest.mark.parametrize("missing", SAID)
def test_a_fact_left_out_is_refused(missing: str) -> None:
    with pytest.raises(LoaderLost):
        with_facts(CONTENT, {name: fact for name, fact in SAID.items() if name != missing})
