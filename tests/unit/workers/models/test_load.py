import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BitImageProcessorPil, EfficientNetImageProcessorPil

from fakesweep.schema.errors import DeviceError, FakesweepError, ModelError
from fakesweep.schema.judging.catalogue import ModelEntry, read_catalogue
from fakesweep.schema.judging.labels import Side, SidesOrigin
from fakesweep.workers.models import sizing
from fakesweep.workers.models.load import load_model
from fakesweep.workers.models.loaded import LoadedModel
from fakesweep.workers.models.place import Place
from fakesweep.workers.sandbox.preprocess import Preprocessing
from tests.support.checkpoints import coloured_noise, save_checkpoint
from tests.support.reference import BFLOAT16_ON_CPU, FLOAT32_ON_CPU


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("vit"))


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A checkpoint to spoil."""
    return shutil.copytree(tiny, tmp_path / "checkpoint")


def test_the_bundled_model_loads_by_its_key_without_a_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    model = load_model(read_catalogue(None).model("vit-tiny-cifake"), FLOAT32_ON_CPU)

    assert model.identity.key == "vit-tiny-cifake"
    assert model.identity.source == "bundled:vit-tiny-cifake"
    assert model.identity.revision.startswith("sha256:")
    assert model.identity.architecture == "ViTForImageClassification"
    assert model.identity.labels.names == ("REAL", "FAKE")
    assert model.identity.labels.sides == (Side.REAL, Side.FAKE)
    assert model.identity.preprocessing["steps"]["size"] == [32, 32]
    assert model.seconds > 0
    assert capfd.readouterr() == ("", "")


def test_the_card_travels_with_the_bundled_weights(shared: Path) -> None:
    bundled = Path(__file__).parents[4] / "workers" / "checkpoints" / "vit-tiny-cifake"
    original = shared / "models" / "vit-tiny-cifake"

    assert {path.name: path.read_bytes() for path in bundled.iterdir()} == {
        path.name: path.read_bytes() for path in original.iterdir()
    }


def test_weights_are_float32_in_evaluation_mode_on_the_device(folder: Path) -> None:
    _rewrite_weights(folder, lambda weights: {k: w.half() for k, w in weights.items()})
    _edit(folder / "config.json", dtype="float16")

    model = _load(folder)

    weights = list(model.engine.network.parameters())
    assert {(one.dtype, one.device) for one in weights} == {(torch.float32, torch.device("cpu"))}
    assert not model.engine.network.training
    assert model.place == FLOAT32_ON_CPU


def test_pickled_weights_load_as_the_same_model(tiny: Path, tmp_path: Path) -> None:
    pickled = save_checkpoint(tmp_path / "pickled", is_pickled=True)
    assert not list(pickled.glob("*.safetensors"))

    assert _scores(_load(pickled)) == _scores(_load(tiny))


def test_pickled_weights_with_a_payload_are_refused_and_not_run(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    proof = folder / "owned"

    class Payload:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(proof),)

    torch.save({"classifier.weight": Payload()}, folder / "pytorch_model.bin")

    with pytest.raises(ModelError, match="cannot be loaded from"):
        _load(folder)
    assert not proof.exists()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ModelError, match="cannot be loaded from"):
        _load(folder)
    assert not proof.exists()


@pytest.mark.parametrize("absent", ["classifier.weight", "classifier.bias", "vit.layernorm.weight"])
def test_missing_weights_are_refused(folder: Path, absent: str) -> None:
    _rewrite_weights(folder, lambda weights: {k: w for k, w in weights.items() if k != absent})

    with pytest.raises(ModelError, match=rf"lacks 1 of the weights .* \({absent}\); .* random"):
        _load(folder)


def test_a_head_for_other_classes_is_refused(folder: Path) -> None:
    def widened(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return weights | {"classifier.weight": torch.zeros(5, 32), "classifier.bias": torch.ones(5)}

    _rewrite_weights(folder, widened)

    with pytest.raises(ModelError, match="cannot be loaded from"):
        _load(folder)


def test_weights_that_give_no_numbers_are_refused(folder: Path) -> None:
    _rewrite_weights(
        folder, lambda weights: weights | {"classifier.bias": torch.tensor([0.0, float("nan")])}
    )

    with pytest.raises(ModelError, match=r"cannot score an image: .* no finite number"):
        _load(folder)


def test_a_size_that_the_network_does_not_take_is_refused(folder: Path) -> None:
    _edit(folder / "preprocessor_config.json", size={"height": 64, "width": 64})

    with pytest.raises(ModelError, match=r"cannot score an image: .*64"):
        _load(folder)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\xff" * 8 + b"{}" * 50])
def test_corrupted_weights_are_refused_in_one_line(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)

    with pytest.raises(ModelError, match="model 'tiny' cannot be loaded from") as error:
        _load(folder)
    assert "\n" not in str(error.value)


def test_an_unknown_architecture_is_refused_in_one_line(folder: Path) -> None:
    _edit(folder / "config.json", model_type="of-my-own")

    with pytest.raises(ModelError, match="of-my-own") as error:
        _load(folder)
    assert "\n" not in str(error.value)


def test_a_missing_preprocessor_is_refused(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()

    with pytest.raises(ModelError, match=r"has no preprocessor_config\.json"):
        _load(folder)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="absent does not exist"):
        _load(tmp_path / "absent")


def test_names_that_contradict_the_catalogue_are_refused(tiny: Path) -> None:
    with pytest.raises(ModelError, match="refusing to guess which one is inverted"):
        _load(tiny, (Side.FAKE, Side.REAL))


def test_silent_names_take_their_meaning_from_the_catalogue(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, labels=("LABEL_0", "LABEL_1"))

    model = _load(folder, (Side.DEEPFAKE, Side.REAL))

    assert model.identity.labels.sides == (Side.DEEPFAKE, Side.REAL)
    assert model.identity.labels.origin is SidesOrigin.CATALOGUE


def test_silent_names_without_a_catalogue_are_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, labels=("LABEL_0", "LABEL_1"))

    with pytest.raises(ModelError, match=r"meaning is not known \(0: LABEL_0, 1: LABEL_1\)"):
        _load(folder)


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no real class"):
        _load(save_checkpoint(tmp_path, labels=("FAKE",)))


def test_a_regression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="predicts a quantity"):
        _load(save_checkpoint(tmp_path, problem_type="regression"))


def test_independent_labels_are_scored_by_sigmoid(tmp_path: Path) -> None:
    model = _load(save_checkpoint(tmp_path, problem_type="multi_label_classification"))

    assert model.identity.preprocessing["scores"] == "sigmoid"
    assert any(abs(sum(score) - 1) > 0.01 for score in _scores(model))


def test_checkpoints_of_an_older_transformers_load(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    del settings["image_processor_type"]
    settings |= {"feature_extractor_type": "ViTFeatureExtractor", "size": 32}
    path.write_text(json.dumps(settings))

    model = _load(folder)

    assert isinstance(model.preprocessing, Preprocessing)
    assert model.preprocessing.size == (32, 32)


def test_a_processor_with_steps_of_its_own_is_called_itself(tmp_path: Path) -> None:
    own = EfficientNetImageProcessorPil(
        size={"height": 32, "width": 32}, rescale_offset=True, include_top=True
    )
    model = _load(save_checkpoint(tmp_path, processor=own))
    image = coloured_noise(2)[1]

    prepared = model.prepare(image)

    assert prepared.dtype == "float32"
    assert (prepared == own(images=image, return_tensors="np")["pixel_values"][0]).all()
    assert model.identity.preprocessing["steps"]["processor"]["rescale_offset"] is True


def test_shortest_edge_and_crop_are_read_from_the_checkpoint(tmp_path: Path) -> None:
    own = BitImageProcessorPil(size={"shortest_edge": 48}, crop_size=32, resample=2)

    model = _load(save_checkpoint(tmp_path, processor=own))

    assert isinstance(model.preprocessing, Preprocessing)
    assert (model.preprocessing.shortest_edge, model.preprocessing.crop) == (48, (32, 32))
    assert model.prepare(coloured_noise(1, 61, 97)[0]).shape == (32, 32, 3)


def test_the_fingerprint_is_the_same_at_each_load_and_wherever_the_folder_lies(
    tiny: Path, folder: Path
) -> None:
    first, second = _load(tiny).identity, _load(folder).identity

    assert first.fingerprint == second.fingerprint
    assert first.revision == second.revision
    assert len(first.fingerprint) == 16


@pytest.mark.parametrize(
    "change",
    [{"resample": 3}, {"image_mean": [0.4, 0.4, 0.6]}, {"image_std": 0.5}, {"rescale_factor": 0.1}],
)
def test_the_fingerprint_follows_the_preprocessing(
    tiny: Path, folder: Path, change: dict[str, Any]
) -> None:
    _edit(folder / "preprocessor_config.json", **change)

    assert _load(folder).identity.fingerprint != _load(tiny).identity.fingerprint


def test_the_fingerprint_follows_the_meaning_of_the_labels(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, labels=("LABEL_0", "LABEL_1"))

    one = _load(folder, (Side.REAL, Side.FAKE)).identity
    other = _load(folder, (Side.FAKE, Side.REAL)).identity

    assert one.revision == other.revision
    assert one.fingerprint != other.fingerprint


def test_the_fingerprint_and_what_is_recorded_follow_the_precision(tiny: Path) -> None:
    precise, quick = _load(tiny).identity, _load(tiny, place=BFLOAT16_ON_CPU).identity

    assert precise.preprocessing["precision"] == "float32"
    assert quick.preprocessing["precision"] == "bfloat16"
    assert precise.fingerprint != quick.fingerprint
    assert precise.revision == quick.revision


def test_models_that_share_a_process_keep_their_own_threads(tiny: Path) -> None:
    entry = ModelEntry(key="tiny", source=str(tiny))
    before = torch.get_num_threads()
    try:
        asked = load_model(entry, FLOAT32_ON_CPU, cpu_threads=before + 1)
        light = load_model(entry, FLOAT32_ON_CPU)
        _scores(asked)
        assert torch.get_num_threads() == before + 1
        _scores(light)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("seconds", "cores", "threads"),
    [(0.0001, 2, 1), (0.09, 2, 2), (0.0005, 16, 3), (0.002, 16, 8), (0.09, 16, 16)],
)
def test_a_model_gets_its_share_of_the_cores(seconds: float, cores: int, threads: int) -> None:
    assert sizing.threads_for(seconds, cores) == threads


def test_a_call_holds_as_many_images_as_was_asked_for(tiny: Path) -> None:
    model = load_model(ModelEntry(key="tiny", source=str(tiny)), FLOAT32_ON_CPU, call_images=300)
    assert model.call_images == 300


def test_a_call_on_a_cpu_holds_what_it_scores_within_a_moment(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 1 <= _load(tiny).call_images <= sizing.CPU_CALL_IMAGES
    monkeypatch.setattr(sizing, "CPU_CALL_SECONDS", 1e-9)
    assert _load(tiny).call_images == 1
    monkeypatch.setattr(sizing, "CPU_CALL_SECONDS", 1e9)
    assert _load(tiny).call_images == sizing.CPU_CALL_IMAGES


def test_a_call_that_live_images_wait_for_holds_fewer(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "CPU_CALL_SECONDS", 1e9)
    monkeypatch.setattr(sizing, "CPU_URGENT_SECONDS", 1e-9)
    assert _load(tiny).urgent_images == 1
    monkeypatch.setattr(sizing, "CPU_URGENT_SECONDS", 1e9)
    assert _load(tiny).urgent_images == sizing.CPU_CALL_IMAGES, "no more than any call"


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (torch.AcceleratorError("illegal access"), DeviceError),
        (torch.OutOfMemoryError("out of memory"), ModelError),
    ],
)
def test_a_broken_device_is_told_from_a_model_that_does_not_fit(
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    becomes: type[FakesweepError],
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(torch.nn.Module, "to", fail)
    with pytest.raises(becomes, match=str(error)):
        _load(tiny)


def _load(
    folder: Path, labels: tuple[Side, ...] | None = None, place: Place = FLOAT32_ON_CPU
) -> LoadedModel:
    return load_model(ModelEntry(key="tiny", source=str(folder), labels=labels), place)


def _scores(model: LoadedModel) -> list[tuple[float, ...]]:
    answers = model.classify([model.prepare(image) for image in coloured_noise(6)])
    return [answer for answer in answers if isinstance(answer, tuple)]


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _rewrite_weights(folder: Path, change: Any) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
