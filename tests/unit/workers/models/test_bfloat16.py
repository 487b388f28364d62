from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import structlog
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from fakesweep.schema.judging.catalogue import ModelEntry
from fakesweep.workers.models import bfloat16
from fakesweep.workers.models.bfloat16 import PLAIN_ATTENTION, PackedLinear, plain_attention
from fakesweep.workers.models.load import load_model
from fakesweep.workers.models.loaded import LoadedModel
from fakesweep.workers.models.place import Place
from tests.support.checkpoints import Architecture, coloured_noise, save_checkpoint
from tests.support.reference import BFLOAT16_ON_CPU, FLOAT32_ON_CPU

FURTHEST = 0.05
"""Largest allowed deviation from float32; 200 images deviated by at most 0.026 (dinov2) and by
0.0053 on average, with and without the optimisations."""
MEAN = 0.01

ARCHITECTURES: tuple[Architecture, ...] = ("vit", "siglip", "swin", "convnext", "dinov2")
LINEAR_LAYERS: dict[Architecture, int] = {
    "vit": 13, "siglip": 15, "swin": 14, "convnext": 5, "dinov2": 13,
}  # fmt: skip

needs_onednn = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    reason="oneDNN has no bfloat16 for this processor",
)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    chosen: Architecture = request.param
    return chosen


@pytest.fixture(scope="module")
def folder(architecture: Architecture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp(architecture), architecture)


def _load(folder: Path, place: Place) -> LoadedModel:
    return load_model(ModelEntry(key="tiny", source=str(folder)), place, call_images=64)


def _scores(model: LoadedModel, count: int = 200) -> npt.NDArray[np.float64]:
    answers = model.classify([model.prepare(image) for image in coloured_noise(count)])
    scores = [answer[1] for answer in answers if isinstance(answer, tuple)]
    assert len(scores) == count
    return np.array(scores)


@needs_onednn
def test_scores_in_bfloat16_stay_near_those_in_float32(
    folder: Path, architecture: Architecture
) -> None:
    exact, rounded = _load(folder, FLOAT32_ON_CPU), _load(folder, BFLOAT16_ON_CPU)

    differences = np.abs(_scores(rounded) - _scores(exact))

    network: Any = rounded.engine.network
    modules = list(network.modules())
    packed = [one for one in modules if isinstance(one, PackedLinear)]
    assert len(packed) == LINEAR_LAYERS[architecture]
    assert not [one for one in modules if type(one) is torch.nn.Linear]
    assert {one.dtype for one in network.parameters()} == {torch.bfloat16}
    assert network.config._attn_implementation == PLAIN_ATTENTION
    assert differences.max() < FURTHEST
    assert differences.mean() < MEAN
    assert differences.any(), "it did compute in bfloat16"


def _gone(name: str) -> Callable[..., torch.Tensor]:
    """Fail like `_mkldnn` without torch's private function."""
    found: Callable[..., torch.Tensor] = getattr(torch.ops.mkldnn, f"{name}_of_old")
    return found


def _refusing(_name: str) -> Callable[..., torch.Tensor]:
    """Fail like torch on a processor without oneDNN's bfloat16."""

    def refuse(*_: object) -> torch.Tensor:
        raise RuntimeError("bf16 path needs the cpu support avx_ne_convert or avx512bw")

    return refuse


@pytest.mark.parametrize(
    ("inner", "reason"), [(_gone, "_of_old"), (_refusing, "bf16 path needs the cpu support")]
)
def test_without_torchs_inner_functions_it_warns_and_still_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: Any, reason: str
) -> None:
    folder = save_checkpoint(tmp_path)
    monkeypatch.setattr(bfloat16, "_mkldnn", inner)

    with structlog.testing.capture_logs() as lines:
        model = _load(folder, BFLOAT16_ON_CPU)

    [line] = lines
    assert (line["event"], line["log_level"]) == ("weights_not_packed", "warning")
    assert line["model"] == "tiny"
    assert reason in line["slower_because"]
    assert not [one for one in model.engine.network.modules() if isinstance(one, PackedLinear)]
    differences = np.abs(_scores(model, 24) - _scores(_load(folder, FLOAT32_ON_CPU), 24))
    assert differences.max() < FURTHEST


@needs_onednn
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 48), (7, 48), (3, 5, 48), (2, 4, 3, 48)])
def test_a_packed_linear_layer_returns_what_the_plain_one_does(
    shape: tuple[int, ...], *, has_bias: bool
) -> None:
    torch.manual_seed(1)
    plain = torch.nn.Linear(48, 20, bias=has_bias, dtype=torch.bfloat16)
    packed = PackedLinear(plain)
    inputs = torch.randn(shape, dtype=torch.bfloat16)
    strided = torch.randn(*shape, 2, dtype=torch.bfloat16)[..., 0]

    with torch.inference_mode():
        for one in (inputs, strided):
            found, expected = packed(one), plain(one)
            assert found.shape == expected.shape == (*shape[:-1], 20)
            assert found.dtype == torch.bfloat16
            # The order of summation differs: at most one step of the mantissa.
            assert torch.allclose(found.float(), expected.float(), rtol=2**-7, atol=2**-9)


def _attended(
    attend: Callable[..., tuple[torch.Tensor, None]],
    dtype: torch.dtype,
    tokens: tuple[int, int] = (17, 17),
    heads: tuple[int, int] = (4, 4),
    *,
    is_causal: bool = False,
    **more: Any,
) -> torch.Tensor:
    """Attend like a model's layer: [2, tokens, heads, 24] of [2, heads, tokens, 24]."""
    torch.manual_seed(2)
    layer = SimpleNamespace(is_causal=is_causal, num_key_value_groups=heads[0] // heads[1])
    query, key, value = (
        torch.randn(2, tokens[place], heads[place], 24).transpose(1, 2).to(dtype)
        for place in (0, 1, 1)
    )
    more.setdefault("attention_mask", None)
    with torch.inference_mode():
        found, weights = attend(layer, query, key, value, **more)
    assert weights is None
    assert found.is_contiguous()
    return found


@pytest.mark.parametrize("more", [{}, {"scaling": 0.3}, {"dropout": 0.0, "is_causal": False}])
def test_plain_attention_is_torchs_own(more: dict[str, Any]) -> None:
    found = _attended(plain_attention, torch.float32, **more)
    expected = _attended(sdpa_attention_forward, torch.float32, **more)

    assert found.shape == (2, 17, 4, 24)
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def test_plain_attention_in_bfloat16_is_torchs_own_but_for_rounding() -> None:
    found = _attended(plain_attention, torch.bfloat16)
    expected = _attended(sdpa_attention_forward, torch.float32)

    assert found.dtype == torch.bfloat16
    # For values up to 1.6 the rounding errors were 0.012, and 0.006 in torch's own function.
    assert found.float().numpy() == pytest.approx(expected.numpy(), abs=0.025)


def _bias(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    "more",
    [
        {"attention_mask": _bias(2, 1, 17, 17)},
        {"attention_mask": _bias(1, 4, 17, 17)},
        {"tokens": (5, 17)},
        {"heads": (4, 2)},
        {"position_bias": _bias(1, 4, 17, 17)},
        {"is_causal": True},
    ],
    ids=["mask", "bias", "few queries", "shared keys", "position bias", "causal"],
)
def test_what_plain_attention_does_not_know_torchs_own_does(more: dict[str, Any]) -> None:
    found = _attended(plain_attention, torch.float32, **more)
    expected = _attended(sdpa_attention_forward, torch.float32, **more)

    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    if not {"tokens", "heads"} & more.keys():
        assert not torch.allclose(expected, _attended(sdpa_attention_forward, torch.float32))
