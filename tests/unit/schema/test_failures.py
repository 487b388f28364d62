import pytest

from fakesweep.schema import failures
from fakesweep.schema.failures import FailureCode, ImageFailure


def _leaves(failure: type[ImageFailure]) -> list[type[ImageFailure]]:
    below = failure.__subclasses__()
    return [leaf for one in below for leaf in _leaves(one)] if below else [failure]


def test_every_code_has_exactly_one_class_but_the_one_for_killed_workers() -> None:
    codes = sorted(leaf.code for leaf in _leaves(ImageFailure))
    assert codes == sorted(set(FailureCode) - {FailureCode.KILLED_WORKER})


def test_the_tree_in_the_docstring_names_every_class() -> None:
    assert failures.__doc__ is not None
    for leaf in _leaves(ImageFailure):
        assert leaf.__name__ in failures.__doc__


@pytest.mark.parametrize("leaf", _leaves(ImageFailure))
def test_a_failure_is_raised_with_one_line_and_caught_as_an_image_failure(
    leaf: type[ImageFailure],
) -> None:
    with pytest.raises(ImageFailure, match="because"):
        raise leaf("because")
