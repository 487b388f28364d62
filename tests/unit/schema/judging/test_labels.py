import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesweep.schema.errors import ModelError
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.judging.labels import Labels, Side, SidesOrigin, read_labels, side_of
from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.words import Kind, VerdictWord

REAL, AI, DEEPFAKE, FAKE = Side.REAL, Side.AI_GENERATED, Side.DEEPFAKE, Side.FAKE

CARDS = {
    "ai-vs-deepfake-vs-real-v2": (("Artificial", "Deepfake", "Real"), (AI, DEEPFAKE, REAL)),
    "deepfake-detector-v1": (("fake", "real"), (FAKE, REAL)),
    "deepguard": (("Real", "Fake"), (REAL, FAKE)),
    "deep-fake-detector-v2": (("Realism", "Deepfake"), (REAL, DEEPFAKE)),
    "ai-guard-vision": (("REAL", "FAKE"), (REAL, FAKE)),
}


@pytest.mark.parametrize("key", CARDS)
def test_the_class_names_of_the_served_models_mean_what_their_cards_say(key: str) -> None:
    names, sides = CARDS[key]
    expected = Labels(names, sides, SidesOrigin.NAMES)
    assert read_labels(key, names, read_catalogue(None).models[key].labels) == expected
    assert read_labels(key, names, None) == expected


@pytest.mark.parametrize("key", CARDS)
def test_an_inverted_checkpoint_is_refused_with_what_was_found(key: str) -> None:
    names = CARDS[key][0][::-1]
    with pytest.raises(ModelError, match="inverted") as refusal:
        read_labels(key, names, read_catalogue(None).models[key].labels)
    assert f"0: {names[0]}" in str(refusal.value)
    assert key in str(refusal.value)


def test_silent_names_take_the_catalogues_order_and_say_so() -> None:
    labels = read_labels("deepguard", ["LABEL_0", "LABEL_1"], [REAL, FAKE])
    assert labels == Labels(("LABEL_0", "LABEL_1"), (REAL, FAKE), SidesOrigin.CATALOGUE)


def test_silent_names_without_a_catalogue_entry_are_refused() -> None:
    with pytest.raises(ModelError, match=r"0: LABEL_0, 1: LABEL_1.*catalogue file"):
        read_labels("own/model", ["LABEL_0", "LABEL_1"], None)


def test_of_partly_silent_names_the_speaking_ones_count_and_the_catalogue_fills_in() -> None:
    labels = read_labels("m", ["Real", "LABEL_1"], [REAL, DEEPFAKE])
    assert labels.sides == (REAL, DEEPFAKE)
    assert labels.origin is SidesOrigin.CATALOGUE
    with pytest.raises(ModelError, match="inverted"):
        read_labels("m", ["Fake", "LABEL_1"], [REAL, DEEPFAKE])
    with pytest.raises(ModelError, match="0: other"):
        read_labels("m", ["Real", "other"], None)


def test_fake_without_more_agrees_with_either_kind_of_fake_but_the_kinds_not_with_each_other() -> (
    None
):
    assert read_labels("m", ["fake", "real"], [DEEPFAKE, REAL]).sides == (FAKE, REAL)
    assert read_labels("m", ["ai", "real"], [FAKE, REAL]).sides == (AI, REAL)
    with pytest.raises(ModelError, match="catalogue says"):
        read_labels("m", ["deepfake", "real"], [AI, REAL])


@pytest.mark.parametrize("names", [["real", "human"], ["fake", "ai"], []])
def test_a_model_with_one_side_only_is_refused(names: list[str]) -> None:
    with pytest.raises(ModelError, match="cannot tell real from fake"):
        read_labels("m", names, None)


def test_another_number_of_classes_than_the_catalogue_expects_is_refused() -> None:
    with pytest.raises(ModelError, match="3 classes"):
        read_labels("m", ["ai", "deepfake", "real"], [REAL, FAKE])


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("AI-generated", AI), ("ai_generated", AI), ("Ai Generated", AI), ("Synthetic", AI),
        ("Deep-Fake", DEEPFAKE), ("deep fake", DEEPFAKE), ("Not AI", REAL), ("AUTHENTIC", REAL),
        ("human-made", REAL), ("FAKE!", FAKE), ("cat", None), ("LABEL_1", None), ("", None),
        ("unreal", None), ("fakereal", None),
    ],
)  # fmt: skip
def test_a_name_is_read_whatever_its_case_and_punctuation(name: str, side: Side | None) -> None:
    assert side_of(name) is side


def test_p_fake_is_the_sum_of_the_fake_side() -> None:
    labels = read_labels("m", ["Artificial", "Deepfake", "Real"], None)
    assert labels.p_fake([0.5, 0.25, 0.25]) == 0.75
    assert labels.p_fake([0.0, 0.0, 1.0]) == 0.0


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_p_fake_stays_a_probability_however_scores_are_rounded(scores: list[float]) -> None:
    labels = read_labels("m", ["Artificial", "Deepfake", "Real"], None)
    assert 0.0 <= labels.p_fake(scores) <= 1.0


def test_no_number_is_never_taken_for_a_score() -> None:
    labels = read_labels("m", ["real", "fake"], None)
    assert math.isnan(labels.p_fake([0.0, math.nan]))


def test_scores_of_another_length_are_an_error() -> None:
    labels = read_labels("m", ["real", "fake"], None)
    with pytest.raises(ValueError, match="is longer"):
        labels.p_fake([1.0])


def test_the_kind_is_that_of_the_strongest_fake_class() -> None:
    labels = read_labels("m", ["Artificial", "Deepfake", "Real"], None)
    assert labels.kind([0.3, 0.2, 0.5]) is Kind.AI_GENERATED
    assert labels.kind([0.1, 0.2, 0.7]) is Kind.DEEPFAKE
    assert read_labels("m", ["real", "fake"], None).kind([0.1, 0.9]) is Kind.UNKNOWN


def test_p_fake_has_seven_decimals_before_anybody_judges_it() -> None:
    labels = read_labels("m", ["real", "fake"], None)
    assert labels.p_fake([0.0600866675376892, 0.9399133324623108]) == 0.9399133
    just_above = labels.p_fake([0.2, 0.80000001])
    assert just_above == 0.8
    assert Policy("default", 0.2, 0.8).judge(just_above) is VerdictWord.UNCERTAIN
