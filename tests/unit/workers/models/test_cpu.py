from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fakesweep.workers.models.cpu import CpuEngine
from fakesweep.workers.models.place import Precision
from fakesweep.workers.sandbox.preprocess import Preprocessing

STEPS = Preprocessing(
    transparency_on_white=False,
    size=(6, 4),
    shortest_edge=None,
    resample=2,
    crop=None,
    rescale_factor=1 / 255,
    mean=(0.5, 0.4, 0.3),
    std=(0.5, 0.3, 0.25),
)


class Network(torch.nn.Module):
    """Records its inputs; its logits are the channels' means."""

    def __init__(self) -> None:
        super().__init__()
        self.fed: list[torch.Tensor] = []

    def forward(self, pixel_values: torch.Tensor) -> Any:
        self.fed.append(pixel_values.clone())
        return SimpleNamespace(logits=pixel_values.mean(dim=(2, 3)))


def noise(count: int, height: int = 6, width: int = 4) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def test_pixels_are_normalised_as_transformers_does_whatever_the_calls_before_held() -> None:
    network = Network()
    engine = CpuEngine(network, Precision.FLOAT32, STEPS)
    for images in (noise(3), noise(5), noise(2), noise(4, 5, 7), noise(1, 5, 7), noise(3)):
        scores = engine.start(list(images))()
        expected = np.stack([STEPS.normalised(image) for image in images])
        assert network.fed[-1].numpy() == pytest.approx(expected, abs=1e-6)
        logits = torch.from_numpy(expected.mean(axis=(2, 3)))
        assert scores.numpy() == pytest.approx(logits.softmax(dim=-1).numpy(), abs=1e-6)


def test_pixels_are_normalised_in_float32_and_rounded_once_to_the_networks_precision() -> None:
    network = Network()
    images = noise(2)
    scores = CpuEngine(network, Precision.BFLOAT16, STEPS).start(list(images))()
    expected = torch.from_numpy(np.stack([STEPS.normalised(image) for image in images]))
    assert network.fed[0].dtype == torch.bfloat16
    one_step = 2.0**-8  # of bfloat16's mantissa, where float32 rounded to another side of a half
    assert network.fed[0].float().numpy() == pytest.approx(expected.numpy(), rel=one_step)
    same = (network.fed[0] == expected.bfloat16()).float().mean()
    assert same > 0.95
    assert scores.dtype == torch.float32


def test_what_a_processor_made_is_fed_as_it_is() -> None:
    network = Network()
    floats = np.random.default_rng(1).normal(size=(2, 3, 6, 4)).astype(np.float32)
    CpuEngine(network, Precision.FLOAT32, None).start(list(floats))()
    assert (network.fed[0].numpy() == floats).all()


def test_independent_labels_are_scored_apart() -> None:
    images = noise(3)
    together = CpuEngine(Network(), Precision.FLOAT32, STEPS).start(list(images))()
    apart = CpuEngine(Network(), Precision.FLOAT32, STEPS, is_multi_label=True).start(
        list(images)
    )()
    logits = torch.from_numpy(
        np.stack([STEPS.normalised(image).mean(axis=(1, 2)) for image in images])
    )
    assert together.sum(dim=-1).numpy() == pytest.approx(1)
    assert apart.numpy() == pytest.approx(logits.sigmoid().numpy(), abs=1e-6)


def test_answers_stay_when_the_next_call_uses_the_memory_again() -> None:
    engine = CpuEngine(Network(), Precision.FLOAT32, STEPS)
    first = engine.start(list(noise(3)))
    before = first().clone()
    engine.start(list(noise(3)[::-1]))()
    assert first().equal(before)


def test_images_of_unequal_size_are_refused() -> None:
    engine = CpuEngine(Network(), Precision.FLOAT32, STEPS)
    with pytest.raises(ValueError, match=r"unequal size: \[\(5, 7, 3\), \(6, 4, 3\)\]"):
        engine.start([noise(1)[0], noise(1, 5, 7)[0]])
