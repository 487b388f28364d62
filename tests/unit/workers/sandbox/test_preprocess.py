import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fakesweep.schema.failures import ModelFailed
from fakesweep.workers.sandbox.preprocess import Preprocessing
from tests.support.samples import picture

STEPS = Preprocessing(
    transparency_on_white=False,
    size=(20, 30),
    shortest_edge=None,
    resample=2,
    crop=None,
    rescale_factor=1 / 255,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.25, 0.5),
)


def test_an_image_is_resized_straight_to_the_size() -> None:
    expected = picture(1).resize((30, 20), Image.Resampling.BILINEAR)

    assert np.array_equal(STEPS.prepare(picture(1)), np.asarray(expected))


@pytest.mark.parametrize(("width", "height"), [(90, 64), (64, 90), (50, 50), (3, 1000)])
def test_the_shortest_edge_is_resized_and_the_middle_cropped(width: int, height: int) -> None:
    steps = replace(STEPS, size=None, shortest_edge=32)

    whole = steps.prepare(picture(2).resize((width, height)))
    middle = replace(steps, crop=(24, 24)).prepare(picture(2).resize((width, height)))

    assert min(whole.shape[:2]) == 32
    top, left = ((edge - 24) // 2 for edge in whole.shape[:2])
    assert np.array_equal(middle, whole[top : top + 24, left : left + 24])


def test_a_crop_larger_than_the_image_is_filled_with_black() -> None:
    steps = replace(STEPS, size=None, crop=(7, 9))

    cropped = steps.prepare(Image.new("RGB", (4, 4), "white"))

    assert cropped.shape == (7, 9, 3)
    assert cropped.sum() == 4 * 4 * 3 * 255


def test_a_transparent_colour_turns_white_where_the_steps_say_so() -> None:
    image = Image.new("RGB", (30, 20), (1, 2, 3))
    image.info["transparency"] = (1, 2, 3)

    assert (replace(STEPS, transparency_on_white=True).prepare(image) == 255).all()
    assert (STEPS.prepare(image) == (1, 2, 3)).all()


def test_a_strip_that_would_become_enormous_is_refused() -> None:
    steps = replace(STEPS, size=None, shortest_edge=256, crop=(224, 224))

    with pytest.raises(ModelFailed, match="shortest edge"):
        steps.prepare(Image.new("RGB", (1, 50_000)))


def test_normalised_values_are_channels_first() -> None:
    pixels = np.zeros((1, 1, 3), np.uint8) + np.uint8(255)

    assert STEPS.normalised(pixels) == pytest.approx(
        np.array([1, 2, 1], np.float32).reshape(3, 1, 1)
    )


def test_the_steps_are_plain_values_that_cross_processes() -> None:
    assert pickle.loads(pickle.dumps(STEPS)) == STEPS
