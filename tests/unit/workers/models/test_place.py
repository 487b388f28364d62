import pytest
import torch

from fakesweep.schema.errors import ModelError
from fakesweep.workers.models.place import Place, Precision, resolve_device, resolve_place

CPU = torch.device("cpu")


def _able_to(monkeypatch: pytest.MonkeyPatch, **capabilities: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, **capabilities})


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, Precision.BFLOAT16),
        ({"avx512_bf16": False, "amx_bf16": True}, Precision.BFLOAT16),
        ({"avx512_bf16": True, "amx_bf16": True}, Precision.BFLOAT16),
        ({"avx512_bf16": False, "amx_bf16": False, "avx512_f": True}, Precision.FLOAT32),
        ({}, Precision.FLOAT32),
    ],
)
def test_a_cpu_computes_in_bfloat16_where_it_multiplies_it_itself(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], precision: Precision
) -> None:
    _able_to(monkeypatch, **capabilities)
    assert resolve_place("cpu") == Place(CPU, precision)
    assert resolve_place("cpu", "auto") == Place(CPU, precision)


@pytest.mark.parametrize("has_it", [True, False])
@pytest.mark.parametrize("precision", Precision)
def test_a_precision_that_is_asked_for_is_taken_whatever_the_hardware(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, *, has_it: bool
) -> None:
    _able_to(monkeypatch, avx512_bf16=has_it)
    assert resolve_place("cpu", precision.value) == Place(CPU, precision)


def test_a_precision_is_a_type_of_torchs() -> None:
    assert {one: one.dtype for one in Precision} == {
        Precision.FLOAT32: torch.float32,
        Precision.BFLOAT16: torch.bfloat16,
    }


def _with_devices(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(count))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("wanted", "count", "found"),
    [
        ("cpu", 0, "cpu"),
        ("cpu", 2, "cpu"),
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("cuda", 2, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_the_device_is_resolved(
    monkeypatch: pytest.MonkeyPatch, wanted: str, count: int, found: str
) -> None:
    _with_devices(monkeypatch, count)
    assert resolve_device(wanted) == found


@pytest.mark.parametrize(("wanted", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_a_cuda_device_that_is_not_there_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, wanted: str, count: int
) -> None:
    _with_devices(monkeypatch, count)
    with pytest.raises(ModelError, match=rf"'{wanted}' is not there: .* sees {count} .* auto"):
        resolve_place(wanted, "float32")


def test_a_cuda_device_that_this_machine_has_not_is_refused() -> None:
    with pytest.raises(ModelError, match="device 'cuda:99' is not there"):
        resolve_place("cuda:99")
