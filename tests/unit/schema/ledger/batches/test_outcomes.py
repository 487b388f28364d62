import pytest

from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.batches.contents import Content
from fakesweep.schema.ledger.batches.outcomes import Failure, Judgement, Outcome
from fakesweep.schema.reasons import storable
from fakesweep.schema.words import ImageStatus, Kind, VerdictWord

CONTENT = Content(b"\x00" * 32, 1)
SCORED = Judgement(1, 0.5, Kind.UNKNOWN, VerdictWord.UNCERTAIN, (0.5, 0.5))
KNOWN = Judgement(2, 0.5, Kind.UNKNOWN, VerdictWord.UNCERTAIN, None)
REPEATED = Judgement(3, 0.5, Kind.UNKNOWN, VerdictWord.UNCERTAIN, (0.5, 0.5), is_repeated=True)
FAILURE = Failure(FailureCode.CORRUPT, "truncated")


def test_an_image_that_some_model_scored_is_classified() -> None:
    assert Outcome(1, CONTENT, (SCORED,)).status is ImageStatus.CLASSIFIED
    assert Outcome(1, CONTENT, (KNOWN, SCORED)).status is ImageStatus.CLASSIFIED
    assert Outcome(1, CONTENT, (REPEATED, SCORED)).status is ImageStatus.CLASSIFIED


def test_an_image_whose_every_score_was_known_is_reused() -> None:
    assert Outcome(1, CONTENT, (KNOWN, KNOWN)).status is ImageStatus.REUSED
    assert Outcome(1, CONTENT, (KNOWN, REPEATED)).status is ImageStatus.REUSED


def test_an_image_with_a_failure_is_failed_whatever_else_is_known_of_it() -> None:
    assert Outcome(1, None, (), FAILURE).status is ImageStatus.FAILED
    assert Outcome(1, CONTENT, (), FAILURE).status is ImageStatus.FAILED


@pytest.mark.parametrize(("content", "judgements"), [(CONTENT, ()), (None, (SCORED,)), (None, ())])
def test_an_image_cannot_end_with_nothing(
    content: Content | None, judgements: tuple[Judgement, ...]
) -> None:
    with pytest.raises(ValueError, match="image 5 has neither"):
        Outcome(5, content, judgements)


@pytest.mark.parametrize(
    ("text", "stored"),
    [("a\tb\\c\n", "a\tb\\c\n"), ("a\x00b", "a\ufffdb"), ("\udcff.jpg", "?.jpg"), ("é😀", "é😀")],
)
def test_any_text_is_made_storable(text: str, stored: str) -> None:
    assert storable(text) == stored
