import pytest

from fakesweep.schema.failures import CorruptImage, ImageFailure, failure_of
from fakesweep.schema.reasons import LONGEST_REASON_BYTES, reason


@pytest.mark.parametrize("letter", ["a", "ä", "\u20ac", "\U0001f600", "\ud800", "\x00"])
def test_a_reason_is_cut_between_two_characters(letter: str) -> None:
    for length in (*range(480, 520), *range(660, 680), *range(990, 2_010), 601_242):
        said = reason(letter * length)
        assert len(said.encode()) <= LONGEST_REASON_BYTES
        assert "\x00" not in said
        assert len(said) == length or said.endswith("…")


def test_a_short_reason_stays_as_it_is() -> None:
    assert reason("the object is gone; vanished") == "the object is gone; vanished"
    assert reason("") == ""


def test_failures_are_cut_where_they_are_made() -> None:
    for failure in (CorruptImage("x" * 601_242), failure_of("corrupt", "x" * 601_242)):
        assert isinstance(failure, ImageFailure)
        assert len(str(failure).encode()) <= LONGEST_REASON_BYTES
