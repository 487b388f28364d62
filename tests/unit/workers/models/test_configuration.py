import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fakesweep.schema.errors import ModelError
from fakesweep.schema.judging.catalogue import ModelEntry
from fakesweep.schema.judging.labels import Side
from fakesweep.workers.models.files import digest, find_files
from fakesweep.workers.models.load import load_model
from fakesweep.workers.models.place import resolve_place
from fakesweep.workers.models.processor import load_processor
from tests.support.checkpoints import coloured_noise, save_checkpoint

PLACE = resolve_place("cpu", "float32")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "model")
    return tmp_path / "model"


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"attn_implementation": "somebody/kernels"}, "Python code"),
        ({"_attn_implementation": "somebody/kernels:v1"}, "Python code"),
        ({"vision_config": {"attn_implementation": {"": "a/b"}}}, "Python code"),
        ({"experts_implementation": "a/b"}, "Python code"),
        ({"trust_remote_code": True}, "Python code"),
        ({"auto_map": {"AutoConfig": "code.Config"}}, "Python code"),
        ({"vision_config": {"auto_map": {"AutoConfig": "code.Config"}}}, "Python code"),
        ({"num_labels": 10**7}, "num_labels .* more than 1000"),
        ({"id2label": {str(n): str(n) for n in range(2_000)}}, "id2label .* more than 1000"),
        ({"hidden_size": 10**9}, "hidden_size .* more than"),
        ({"num_hidden_layers": 10**5}, "num_hidden_layers .* more than"),
        ({"depths": [1, 10**4]}, "depths .* more than"),
        ({"hidden_size": 4_000, "intermediate_size": 400_000}, "weights, its files"),
        ({"model_type": None, "architecture": "vit_base_patch16_224"}, "checkpoint of timm"),
        ({"model_type": None}, "names no model_type"),
    ],
)
def test_what_a_configuration_may_not_say_is_refused_in_one_line(
    folder: Path, values: dict[str, Any], why: str
) -> None:
    change(folder / "config.json", **values)
    with pytest.raises(ModelError, match=why) as refused:
        load_model(ModelEntry("m", str(folder)), PLACE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "index",
    [
        "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', '{"weight_map": {"a": {}}}',
        '{"weight_map": {"a": "/etc/passwd"}}', '{"weight_map": {"a": "../x"}}',
        '{"weight_map": {"a": ""}}', '{"weight_map": {"a": "x\\u0000"}}', '{"weight_map": null}',
        "[" * 100_000,
    ],
)  # fmt: skip
def test_an_index_that_makes_no_sense_is_refused_in_one_line(folder: Path, index: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError, match=r"^model 'm': ") as refused:
        find_files("m", folder)
    assert "\n" not in str(refused.value)


def test_preprocessing_that_lies_in_processor_config_alone_is_read_and_digested(
    folder: Path,
) -> None:
    before = load_processor("m", folder)
    own = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": own}))
    files = find_files("m", folder)
    assert "processor_config.json" in files.names
    assert load_processor("m", folder).to_dict() == before.to_dict()
    known = digest(files)
    change(folder / "processor_config.json", image_processor=own | {"image_mean": [0.1] * 3})
    assert digest(find_files("m", folder)) != known
    (folder / "processor_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"has no preprocessor_config\.json"):
        find_files("m", folder)


@pytest.mark.parametrize("side", [Side.FAKE, Side.REAL])
def test_a_single_output_is_read_as_the_side_that_the_catalogue_says(
    tmp_path: Path, side: Side
) -> None:
    save_checkpoint(tmp_path, labels=("LABEL_0",))
    with pytest.raises(ModelError, match=r"single output .* say in your catalogue"):
        load_model(ModelEntry("m", str(tmp_path)), PLACE)
    model = load_model(ModelEntry("m", str(tmp_path), labels=(side,)), PLACE)
    [image] = coloured_noise(1)
    [scores] = model.classify([model.prepare(image)])
    assert isinstance(scores, tuple)
    assert sum(scores) == pytest.approx(1)
    p_fake = model.identity.labels.p_fake(scores)
    assert p_fake == pytest.approx(scores[0] if side is Side.FAKE else 1 - scores[0])
