import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesweep.schema.errors import CatalogueError
from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.words import VerdictWord

REAL, UNCERTAIN, FAKE = VerdictWord.REAL, VerdictWord.UNCERTAIN, VerdictWord.FAKE


@pytest.mark.parametrize(
    ("p_fake", "verdict"),
    [
        (0.0, REAL),
        (math.nextafter(0.2, 0), REAL),
        (0.2, UNCERTAIN),
        (0.5, UNCERTAIN),
        (0.8, UNCERTAIN),
        (math.nextafter(0.8, 1), FAKE),
        (1.0, FAKE),
    ],
)
def test_a_score_on_a_cut_point_is_uncertain(p_fake: float, verdict: VerdictWord) -> None:
    assert Policy("default", 0.2, 0.8).judge(p_fake) is verdict


def test_with_one_cut_point_only_the_point_itself_is_uncertain() -> None:
    policy = Policy("card", 0.5, 0.5)
    assert [policy.judge(p) for p in (0.49, 0.5, 0.51)] == [REAL, UNCERTAIN, FAKE]


def test_cut_points_at_the_ends_leave_their_side_empty() -> None:
    assert Policy("all", 0.0, 1.0).judge(0.0) is UNCERTAIN
    assert Policy("all", 0.0, 1.0).judge(1.0) is UNCERTAIN
    assert Policy("strict", 0.0, 0.0).judge(0.001) is FAKE


@pytest.mark.parametrize(
    ("real_below", "fake_above"),
    [(0.8, 0.2), (-0.1, 0.5), (0.5, 1.1), (math.nan, 0.5), (0.5, math.nan), (0.1, math.inf)],
)
def test_cut_points_that_make_no_sense_are_refused(real_below: float, fake_above: float) -> None:
    with pytest.raises(CatalogueError, match="policy 'mine' needs 0 <= real_below"):
        Policy("mine", real_below, fake_above)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_score_never_gets_a_milder_verdict(a: float, b: float, p: float) -> None:
    policy = Policy("any", min(a, b), max(a, b))
    order = [REAL, UNCERTAIN, FAKE]
    assert order.index(policy.judge(p / 2)) <= order.index(policy.judge(p))
