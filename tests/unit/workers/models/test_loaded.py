from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import structlog
import torch

from fakesweep.schema.errors import DeviceError
from fakesweep.schema.failures import ModelFailed
from fakesweep.schema.judging.catalogue import ModelEntry
from fakesweep.workers.models.cpu import CpuEngine
from fakesweep.workers.models.load import load_model
from fakesweep.workers.models.loaded import LoadedModel
from fakesweep.workers.models.place import Precision
from tests.support.checkpoints import coloured_noise, save_checkpoint
from tests.support.reference import FLOAT32_ON_CPU

Logits = Callable[[torch.Tensor], torch.Tensor]
Calls = list[int]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = save_checkpoint(tmp_path_factory.mktemp("vit"))
    return load_model(ModelEntry(key="tiny", source=str(folder)), FLOAT32_ON_CPU)


class Network(torch.nn.Module):
    """Network with logits by a function of the batch, which can fail in any way."""

    def __init__(self, logits: Logits) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return SimpleNamespace(logits=self.logits(pixel_values))


class Engine:
    """Fails at the start of a call or, if `is_late`, in its wait, like devices."""

    calls_ahead = 1

    def __init__(self, network: torch.nn.Module, *, is_late: bool) -> None:
        self._engine = CpuEngine(network, Precision.FLOAT32, None)
        self._is_late = is_late

    def start(self, prepared: Sequence[Any]) -> Callable[[], torch.Tensor]:
        def run() -> torch.Tensor:
            return self._engine.start(prepared)()

        if self._is_late:
            return run
        scores = run()
        return lambda: scores


def answering(model: LoadedModel, logits: Logits, call_images: int = 8) -> LoadedModel:
    engine = CpuEngine(Network(logits), Precision.FLOAT32, model.steps)
    return replace(model, engine=engine, call_images=call_images)


def failing_early_or_late(model: LoadedModel, logits: Logits, *, is_late: bool) -> LoadedModel:
    engine = cast("CpuEngine", Engine(Network(logits), is_late=is_late))
    return replace(model, engine=engine, call_images=8)


def _blank(value: int, side: int = 32) -> npt.NDArray[np.uint8]:
    return np.full((side, side, 3), value, np.uint8)


def test_nothing_to_score_gives_no_scores(model: LoadedModel) -> None:
    assert model.classify([]) == []


def test_scores_are_probabilities_in_the_order_of_the_images(model: LoadedModel) -> None:
    prepared = [model.prepare(image) for image in coloured_noise(9)]

    together = model.classify(prepared)
    alone = [model.classify([one])[0] for one in prepared]

    assert all(isinstance(one, tuple) and sum(one) == pytest.approx(1) for one in together)
    assert np.array(together) == pytest.approx(np.array(alone), abs=1e-5)
    assert len({round(one[0], 3) for one in alone if isinstance(one, tuple)}) > 6


def test_a_call_that_was_started_keeps_its_answers_while_others_start(model: LoadedModel) -> None:
    one, other = ([model.prepare(image)] for image in coloured_noise(2))

    waits = [model.start(one), model.start(other), model.start(one)]

    expected = [model.classify(one), model.classify(other), model.classify(one)]
    assert [np.array(wait()).tolist() for wait in waits] == [
        pytest.approx(np.array(said), abs=1e-6) for said in expected
    ]
    assert expected[0] != expected[1]


def test_an_image_without_finite_scores_fails_alone(model: LoadedModel) -> None:
    def logits(batch: torch.Tensor) -> torch.Tensor:
        return torch.log(batch.mean(dim=(1, 2, 3)) + 1)[:, None].repeat(1, 2)

    answers = answering(model, logits).classify([_blank(255), _blank(0), _blank(200)])

    assert [type(answer) for answer in answers] == [tuple, ModelFailed, tuple]
    assert "no finite number" in str(answers[1])


@pytest.mark.parametrize("error", [RuntimeError, ValueError])
def test_a_call_that_fails_is_tried_in_halves_and_only_its_bad_image_fails(
    model: LoadedModel, error: type[Exception]
) -> None:
    calls: Calls = []

    def logits(batch: torch.Tensor) -> torch.Tensor:
        calls.append(len(batch))
        if (batch.mean(dim=(1, 2, 3)) < 0).any():
            raise error("kernel\nfailed")
        return torch.zeros(len(batch), 2)

    broken = answering(model, logits)

    answers = broken.classify([_blank(200 if place != 2 else 0) for place in range(8)])

    assert [type(answer) for answer in answers] == [tuple] * 2 + [ModelFailed] + [tuple] * 5
    assert str(answers[2]) == "the model raised: kernel failed"
    assert calls == [8, 4, 2, 2, 1, 1, 4]
    assert broken.call_images == 8, "it is no lack of memory"
    assert isinstance(broken.classify([_blank(0)])[0], ModelFailed)


def test_images_of_unequal_size_are_scored_apart(model: LoadedModel) -> None:
    answers = model.classify([_blank(9), _blank(9, side=16), _blank(8)])

    assert [type(answer) for answer in answers] == [tuple, ModelFailed, tuple]


@pytest.mark.parametrize("is_late", [False, True])
def test_a_broken_device_is_no_fault_of_the_images(model: LoadedModel, *, is_late: bool) -> None:
    calls: Calls = []

    def logits(batch: torch.Tensor) -> torch.Tensor:
        calls.append(len(batch))
        raise torch.AcceleratorError("an illegal memory access was encountered")

    broken = failing_early_or_late(model, logits, is_late=is_late)
    wait = broken.start([_blank(1), _blank(2)])

    with pytest.raises(DeviceError, match="device cpu: an illegal memory access"):
        wait()
    assert calls == [2], "nothing is tried again on a broken device"


def _no_memory(kind: str) -> None:
    if kind == "cuda":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 GiB")
    torch.empty(10**15)  # more than a processor can address


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_a_device_without_memory_for_a_call_scores_all_its_images_in_smaller_ones(
    model: LoadedModel, kind: str, *, is_late: bool
) -> None:
    calls: Calls = []

    def logits(batch: torch.Tensor) -> torch.Tensor:
        calls.append(len(batch))
        if len(batch) > 3:
            _no_memory(kind)
        return torch.stack([torch.zeros(len(batch)), batch.mean(dim=(1, 2, 3)).float()], dim=-1)

    tight = failing_early_or_late(model, logits, is_late=is_late)
    images = [_blank(value) for value in range(0, 240, 30)]

    with structlog.testing.capture_logs() as lines:
        answers = tight.classify(images)

    assert calls == [8, 4, 2, 2, 4, 2, 2]
    expected = torch.tensor([float(image.mean()) for image in images]).sigmoid().tolist()
    assert [said[1] for said in answers if isinstance(said, tuple)] == pytest.approx(expected)
    assert tight.call_images == 2
    assert [(line["event"], line["images_per_call"]) for line in lines] == [
        ("device_out_of_memory", 4),
        ("device_out_of_memory", 2),
    ]
    assert {line["log_level"] for line in lines} == {"warning"}
    with structlog.testing.capture_logs() as lines:
        tight.classify(images[: tight.call_images])
    assert lines == []


def test_a_device_without_memory_for_any_image_is_broken(model: LoadedModel) -> None:
    def logits(batch: torch.Tensor) -> torch.Tensor:
        _no_memory("cuda")
        return batch

    starving = answering(model, logits)

    with pytest.raises(DeviceError, match=r"no memory for a single image: CUDA out of memory"):
        starving.classify([_blank(1), _blank(2)])


def test_an_image_too_large_for_the_device_fails_alone(model: LoadedModel) -> None:
    def logits(batch: torch.Tensor) -> torch.Tensor:
        if batch.shape[-1] > 32:
            _no_memory("cuda")
        return torch.zeros(len(batch), 2)

    answers = answering(model, logits).classify([_blank(1), _blank(2, side=64), _blank(3)])

    assert [type(answer) for answer in answers] == [tuple, ModelFailed, tuple]
    assert "out of memory" in str(answers[1])
