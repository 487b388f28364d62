from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from schema.catalogue import ModelEntry
from schema.errors import DeviceError
from schema.failures import ModelFailed
from tests.checkpoints import coloured_noise, save_checkpoint
from workers.models.load import load_model
from workers.models.loaded import LoadedModel


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = save_checkpoint(tmp_path_factory.mktemp("vit"))
    return load_model(ModelEntry(key="tiny", source=str(folder)), "cpu")


class Network(torch.nn.Module):
    """Logits by a function of the batch, to fail in ways a good checkpoint does not."""

    def __init__(self, logits: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return SimpleNamespace(logits=self.logits(pixel_values))


def _blank(value: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((32, 32, 3), value, np.uint8)


def test_nothing_to_score_gives_no_scores(model: LoadedModel) -> None:
    assert model.classify([]) == []


def test_scores_are_probabilities_in_the_order_of_the_images(model: LoadedModel) -> None:
    prepared = [model.prepare(image) for image in coloured_noise(9)]

    together = model.classify(prepared)
    alone = [model.classify([one])[0] for one in prepared]

    assert all(isinstance(one, tuple) and sum(one) == pytest.approx(1) for one in together)
    assert np.array(together) == pytest.approx(np.array(alone), abs=1e-5)
    assert len({round(one[0], 3) for one in alone if isinstance(one, tuple)}) > 6


def test_pixels_travel_as_bytes_and_are_normalised_on_the_device(model: LoadedModel) -> None:
    seen: list[torch.Tensor] = []

    def logits(batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch)
        return torch.zeros(len(batch), 2)

    prepared = model.prepare(coloured_noise(1)[0])
    replace(model, network=Network(logits)).classify([prepared])

    assert prepared.dtype == np.uint8
    expected = model.preprocessing.normalised(prepared.astype(np.uint8))
    assert seen[0].numpy()[0] == pytest.approx(expected, abs=1e-6)


def test_an_image_without_finite_scores_fails_alone(model: LoadedModel) -> None:
    network = Network(lambda batch: torch.log(batch.mean(dim=(1, 2, 3)) + 1)[:, None].repeat(1, 2))

    answers = replace(model, network=network).classify([_blank(255), _blank(0), _blank(200)])

    assert [type(answer) for answer in answers] == [tuple, ModelFailed, tuple]
    assert "no finite number" in str(answers[1])


def test_an_image_that_makes_the_model_raise_fails_alone(model: LoadedModel) -> None:
    def logits(batch: torch.Tensor) -> torch.Tensor:
        if (batch.mean(dim=(1, 2, 3)) < 0).any():
            raise RuntimeError("kernel\nfailed")
        return torch.zeros(len(batch), 2)

    broken = replace(model, network=Network(logits))

    answers = broken.classify([_blank(255), _blank(0), _blank(200)])

    assert [type(answer) for answer in answers] == [tuple, ModelFailed, tuple]
    assert str(answers[1]) == "the model raised: kernel failed"
    assert isinstance(broken.classify([_blank(0)])[0], ModelFailed)


def test_images_of_unequal_size_are_scored_one_by_one(model: LoadedModel) -> None:
    answers = model.classify([_blank(9), np.zeros((16, 16, 3), np.uint8)])

    assert [type(answer) for answer in answers] == [tuple, ModelFailed]


def test_a_broken_device_is_no_fault_of_the_images(model: LoadedModel) -> None:
    def logits(_batch: torch.Tensor) -> torch.Tensor:
        raise torch.AcceleratorError("an illegal memory access was encountered")

    with pytest.raises(DeviceError, match="device cpu: an illegal memory access"):
        replace(model, network=Network(logits)).classify([_blank(1), _blank(2)])


def test_calls_from_many_threads_take_turns(model: LoadedModel) -> None:
    inside = 0
    most = 0

    def logits(batch: torch.Tensor) -> torch.Tensor:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        torch.ones(300, 300).matmul(torch.ones(300, 300))
        inside -= 1
        return torch.zeros(len(batch), 2)

    shared_model = replace(model, network=Network(logits))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda value: shared_model.classify([_blank(value)]), range(40)))

    assert most == 1
