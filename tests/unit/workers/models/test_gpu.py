import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import structlog
import torch
from transformers import ConvNextImageProcessorPil

from fakesweep.schema.judging.catalogue import ModelEntry
from fakesweep.workers.models.cpu import CpuEngine
from fakesweep.workers.models.gpu import LARGEST_DIFFERENCE, GpuEngine, Score, Scorer, quickened
from fakesweep.workers.models.load import load_model
from fakesweep.workers.models.loaded import LoadedModel
from fakesweep.workers.models.numerics import probabilities
from fakesweep.workers.models.place import Place, Precision
from fakesweep.workers.sandbox.preprocess import Preprocessing
from tests.support.checkpoints import Architecture, coloured_noise, save_checkpoint
from tests.support.reference import BFLOAT16_ON_CPU, FLOAT32_ON_CPU

EXAMPLES = [
    torch.rand(count, 3, generator=torch.Generator().manual_seed(count)) for count in (2, 8)
]

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no CUDA device that torch can use"
)


def score(images: torch.Tensor) -> torch.Tensor:
    """Stand-in for a network: probabilities of numbers."""
    return images.softmax(dim=-1)


class Way:
    """A quicker way that counts its calls, and is off by `off`."""

    def __init__(self, scorer: Score, off: float = 0.0) -> None:
        self.scorer = scorer
        self.off = off
        self.calls = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.scorer(images) + self.off


def as_it_is(scorer: Score, _example: torch.Tensor | None = None) -> Score:
    return scorer


def quicken(
    compile_: Callable[[Score], Score] = as_it_is,
    record: Callable[[Score, torch.Tensor], Score] = as_it_is,
    seconds: Iterable[float] = (1.0, 2.0),
) -> tuple[dict[int, Score], list[tuple[str, str]]]:
    """Quicken `score`; return the result, and the rejected variants with their logged reasons.

    `seconds` are the times of the working variants, in order.
    """
    left = iter(seconds)
    with structlog.testing.capture_logs() as lines:
        quick = quickened(
            "tiny", score, EXAMPLES, compile_=compile_, record=record,
            seconds_of=lambda _way, _images: next(left),
        )  # fmt: skip
    lines = [line for line in lines if line["event"] != "model_timed"]
    assert {(line["event"], line["log_level"], line["model"]) for line in lines} <= {
        ("model_not_quickened", "warning", "tiny")
    }
    return quick, [(line["way"], f"{line['kind']}: {line['slower_because']}") for line in lines]


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> Any:
        raise error

    return fail


def test_each_number_of_images_is_compiled_and_recorded_where_that_agrees() -> None:
    compiled: list[Way] = []
    recorded: list[tuple[Score, int]] = []

    def compile_(scorer: Score) -> Score:
        compiled.append(Way(scorer, off=LARGEST_DIFFERENCE / 2))
        return compiled[-1]

    def record(scorer: Score, example: torch.Tensor) -> Score:
        recorded.append((scorer, len(example)))
        return Way(scorer)

    quick, said = quicken(compile_, record)

    assert said == []
    [way] = compiled
    assert recorded == [(way, 2), (way, 8), (score, 2), (score, 8)]
    assert quick.keys() == {2, 8}
    before = way.calls
    assert quick[8](EXAMPLES[1]).equal(score(EXAMPLES[1]) + LARGEST_DIFFERENCE / 2)
    assert way.calls == before + 1


@pytest.mark.parametrize(
    "compile_",
    [
        raising(NotImplementedError("no compiler\nfor this Python")),
        lambda _scorer: raising(NotImplementedError("no compiler\nfor this Python")),
    ],
    ids=["at once", "when it is called"],
)
def test_a_network_that_does_not_compile_is_recorded_as_it_is(
    compile_: Callable[[Score], Score],
) -> None:
    recorded: list[Way] = []

    def record(scorer: Score, example: torch.Tensor) -> Score:
        scorer(example)
        recorded.append(Way(scorer))
        return recorded[-1]

    quick, said = quicken(compile_, record)

    assert said == [("compiled", "NotImplementedError: no compiler for this Python")]
    assert [one.scorer for one in recorded] == [score, score]
    assert list(quick.values()) == recorded


@pytest.mark.parametrize("off", [LARGEST_DIFFERENCE * 1.1, -0.9, float("nan")])
def test_a_compiled_network_with_other_answers_is_not_taken(off: float) -> None:
    quick, said = quicken(lambda scorer: Way(scorer, off))

    assert [way for way, _ in said] == ["compiled"]
    assert said[0][1].startswith("ArithmeticError: its probabilities are off by ")
    assert [one(EXAMPLES[0]).equal(score(EXAMPLES[0])) for one in quick.values()] == [True, True]


def test_what_only_its_larger_calls_get_wrong_is_not_taken() -> None:
    def compile_(scorer: Score) -> Score:
        return lambda images: scorer(images) + (len(images) > 2)

    quick, said = quicken(compile_)

    assert [way for way, _ in said] == ["compiled"]
    assert quick[8](EXAMPLES[1]).equal(score(EXAMPLES[1]))


def test_a_compiled_network_that_takes_longer_than_the_network_as_it_is_is_not_taken() -> None:
    quick, said = quicken(Way, seconds=(2.0, 1.0))

    assert said == []
    assert quick == {2: score, 8: score}


def test_a_second_variant_without_memory_keeps_the_first() -> None:
    def record(scorer: Score, _example: torch.Tensor) -> Score:
        if scorer is score:
            raise torch.OutOfMemoryError("out of memory")
        return scorer

    quick, said = quicken(Way, record)

    assert said == []
    assert all(isinstance(one, Way) for one in quick.values())


def test_without_a_working_faster_variant_every_call_takes_the_plain_network() -> None:
    quick, said = quicken(record=raising(RuntimeError("cannot be captured")))

    assert quick == {}
    assert said == [
        ("compiled", "RuntimeError: cannot be captured"),
        ("as it is", "RuntimeError: cannot be captured"),
    ]


def _accelerator_error(message: str, code: int) -> torch.AcceleratorError:
    """Return torch's error for a CUDA code."""
    error: Any = torch.AcceleratorError(message)
    error.error_code = code
    made: torch.AcceleratorError = error
    return made


@pytest.mark.parametrize("code", [900, 901, 908])
def test_an_unrecordable_network_is_a_slower_variant_despite_the_cuda_error(code: int) -> None:
    def record(scorer: Score, example: torch.Tensor) -> Score:
        if isinstance(scorer, Way):
            raise _accelerator_error("operation not permitted when stream is capturing", code)
        return as_it_is(scorer, example)

    quick, said = quicken(Way, record)

    assert said == [
        ("compiled", "AcceleratorError: operation not permitted when stream is capturing")
    ]
    assert quick == {2: score, 8: score}


@pytest.mark.parametrize("step", ["compile_", "record"])
@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("illegal access"),
        _accelerator_error("illegal access", 700),
        _accelerator_error("unknown error", 999),
        torch.OutOfMemoryError("out of memory"),
    ],
)
def test_a_broken_or_full_device_is_no_slower_variant(error: Exception, step: str) -> None:
    broken: dict[str, Any] = {step: raising(error)}
    with pytest.raises(type(error), match=str(error)):
        quicken(**broken)


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


class Means(torch.nn.Module):
    """Its logits are its channels' means, in the precision it is fed."""

    def __init__(self) -> None:
        super().__init__()
        self.fed: list[torch.Tensor] = []

    def forward(self, pixel_values: torch.Tensor) -> Any:
        self.fed.append(pixel_values)
        return SimpleNamespace(logits=pixel_values.mean(dim=(2, 3)))


@pytest.mark.parametrize("is_multi_label", [False, True])
@pytest.mark.parametrize("place", [FLOAT32_ON_CPU, BFLOAT16_ON_CPU])
def test_a_network_with_what_surrounds_it_scores_bytes_as_the_processor_does(
    place: Place, *, is_multi_label: bool
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 6, 4, 3), np.uint8)
    network = Means()
    engine = CpuEngine(Means(), place.precision, STEPS, is_multi_label=is_multi_label)

    scores = Scorer(network, place, STEPS, is_multi_label=is_multi_label)(torch.from_numpy(pixels))

    assert network.fed[0].dtype == place.precision.dtype
    assert scores.dtype == torch.float32
    expected = engine.start(list(pixels))().numpy()
    rounding = 1e-6 if place.precision is Precision.FLOAT32 else 0.005
    assert scores.numpy() == pytest.approx(expected, abs=rounding)


def test_a_network_with_what_surrounds_it_takes_what_a_processor_made_as_it_is() -> None:
    floats = torch.randn(2, 3, 6, 4)
    network = Means()

    scores = Scorer(network, FLOAT32_ON_CPU, None, is_multi_label=False)(floats)

    assert network.fed[0].equal(floats)
    assert scores.equal(probabilities(floats.mean(dim=(2, 3)), is_multi_label=False))


CALL_IMAGES = 16


def _on_gpu(folder: Path, precision: Precision) -> LoadedModel:
    place = Place(torch.device("cuda:0"), precision)
    return load_model(ModelEntry(key="tiny", source=str(folder)), place, call_images=CALL_IMAGES)


def _rows(answers: Any) -> Any:
    return np.array([answer for answer in answers if isinstance(answer, tuple)])


@needs_cuda
@pytest.mark.filterwarnings("ignore")  # compilers warn of what they like
@pytest.mark.parametrize(
    ("precision", "furthest"), [(Precision.FLOAT32, 1e-3), (Precision.BFLOAT16, 0.05)]
)
@pytest.mark.parametrize("architecture", ["vit", "siglip", "swin", "convnext", "dinov2"])
def test_a_gpu_scores_calls_of_every_size_as_a_cpu_does(
    tmp_path: Path, architecture: Architecture, precision: Precision, furthest: float
) -> None:
    folder = save_checkpoint(tmp_path, architecture)
    model = _on_gpu(folder, precision)
    on_cpu = load_model(ModelEntry(key="tiny", source=str(folder)), FLOAT32_ON_CPU)
    images = [model.prepare(image) for image in coloured_noise(CALL_IMAGES + 4)]
    expected = _rows(on_cpu.classify(images))

    assert isinstance(model.engine, GpuEngine)
    assert model.engine._quick.keys() == {CALL_IMAGES // 8, CALL_IMAGES}
    for size in (1, 2, 3, CALL_IMAGES - 1, CALL_IMAGES, CALL_IMAGES + 4, 1):
        found = _rows(model.classify(images[-size:]))
        assert found == pytest.approx(expected[-size:], abs=furthest), f"a call of {size}"


@needs_cuda
@pytest.mark.filterwarnings("ignore")  # compilers warn of what they like
def test_calls_under_way_on_a_gpu_do_not_disturb_one_another(tmp_path: Path) -> None:
    model = _on_gpu(save_checkpoint(tmp_path), Precision.FLOAT32)
    images = [model.prepare(image) for image in coloured_noise(60)]
    calls = [images[start : start + 1 + start % CALL_IMAGES] for start in range(44)]
    one_by_one = [_rows(model.classify(call)) for call in calls]

    ahead = [model.start(calls[0])]
    found = []
    for call in calls[1:]:
        ahead.append(model.start(call))
        found.append(_rows(ahead.pop(0)()))
    found.append(_rows(ahead.pop()()))

    for together, alone in zip(found, one_by_one, strict=True):
        assert together == pytest.approx(alone, abs=1e-5)


@needs_cuda
@pytest.mark.filterwarnings("ignore")  # compilers warn of what they like
def test_images_of_another_size_than_was_compiled_for_are_scored_too(tmp_path: Path) -> None:
    as_they_are = ConvNextImageProcessorPil(do_resize=False)
    folder = save_checkpoint(tmp_path, "convnext", processor=as_they_are)
    model = _on_gpu(folder, Precision.FLOAT32)
    on_cpu = load_model(ModelEntry(key="tiny", source=str(folder)), FLOAT32_ON_CPU)

    for width, height in ((48, 64), (640, 480), (96, 32)):
        images = [model.prepare(image) for image in coloured_noise(3, width, height)]
        assert _rows(model.classify(images)) == pytest.approx(
            _rows(on_cpu.classify(images)), abs=1e-3
        )


@needs_cuda
@pytest.mark.filterwarnings("ignore")  # compilers warn of what they like
def test_a_model_may_be_loaded_while_another_is_at_work(tmp_path: Path) -> None:
    model = _on_gpu(save_checkpoint(tmp_path / "vit"), Precision.FLOAT32)
    other = save_checkpoint(tmp_path / "convnext", "convnext")
    images = [model.prepare(image) for image in coloured_noise(40)]
    expected = _rows(model.classify(images))

    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(_on_gpu, other, Precision.FLOAT32)
        for size in itertools.cycle(range(1, len(images))):
            assert _rows(model.classify(images[:size])) == pytest.approx(expected[:size], abs=1e-3)
            if loading.done():
                break

    engine = loading.result().engine
    assert isinstance(engine, GpuEngine)
    assert engine._quick.keys() == {CALL_IMAGES // 8, CALL_IMAGES}
