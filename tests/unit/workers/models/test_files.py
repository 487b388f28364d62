import json
from pathlib import Path

import pytest

from fakesweep.schema.errors import ModelError
from fakesweep.workers.models.files import digest, find_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    (tmp_path / "preprocessor_config.json").write_text('{"size": 32}')
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def test_safetensors_are_preferred_to_pickled_weights(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"pickle")

    files = find_files("m", folder)

    assert files.is_safetensors
    assert files.names == ("config.json", "model.safetensors", "preprocessor_config.json")


def test_pickled_weights_are_taken_where_there_are_no_others(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    files = find_files("m", folder)

    assert not files.is_safetensors
    assert "pytorch_model.bin" in files.names


def test_every_shard_that_the_index_names_counts(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    _write_index(folder, "model-00001-of-00001.safetensors")

    assert find_files("m", folder).names == (
        "config.json",
        "model-00001-of-00001.safetensors",
        "model.safetensors.index.json",
        "preprocessor_config.json",
    )


@pytest.mark.parametrize("shard", ["missing.safetensors", "../model.safetensors"])
def test_a_shard_that_is_not_in_the_folder_is_refused(folder: Path, shard: str) -> None:
    inner = folder / "inner"
    inner.mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (folder / name).rename(inner / name)
    _write_index(inner, shard)

    with pytest.raises(ModelError, match="which is not in its folder"):
        find_files("m", inner)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_missing_configuration_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(ModelError, match=f"has no {name}"):
        find_files("m", folder)


def test_missing_weights_are_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()

    with pytest.raises(ModelError, match=r"has no weights; it must hold model\.safetensors"):
        find_files("m", folder)


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_a_configuration_that_is_no_json_object_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)

    with pytest.raises(ModelError, match=r"config\.json (cannot be read|holds no JSON object)"):
        find_files("m", folder)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("config.json", "AutoModelForImageClassification"),
        ("preprocessor_config.json", "AutoImageProcessor"),
    ],
)
def test_a_checkpoint_with_python_code_of_its_own_is_refused(
    folder: Path, name: str, wanted: str
) -> None:
    (folder / name).write_text(json.dumps({"auto_map": {wanted: "evil.Model"}}))

    with pytest.raises(ModelError, match=rf"code of its own \({wanted}\), which is never run"):
        find_files("m", folder)


def test_the_digest_follows_the_loaded_files_and_nothing_else(folder: Path) -> None:
    before = digest(find_files("m", folder))
    (folder / "README.md").write_text("a card")
    assert digest(find_files("m", folder)) == before

    (folder / "preprocessor_config.json").write_text('{"size": 64}')

    after = digest(find_files("m", folder))
    assert after != before
    assert after.startswith("sha256:")
    assert len(after) == len("sha256:") + 64


def _write_index(folder: Path, shard: str) -> None:
    index = {"weight_map": {"classifier.weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
