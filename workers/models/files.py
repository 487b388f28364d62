"""What a checkpoint folder must hold, which of its files count, and their digest."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schema.errors import ModelAway, ModelError

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
SAFETENSORS = "model.safetensors"
PICKLED = "pytorch_model.bin"
INDEX_SUFFIX = ".index.json"

_REMOTE_CODE = {
    "AutoConfig",
    "AutoModelForImageClassification",
    "AutoImageProcessor",
    "AutoFeatureExtractor",
}


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """The files of a folder that decide its scores; `names` are sorted."""

    folder: Path
    names: tuple[str, ...]
    is_safetensors: bool


def find_files(key: str, folder: Path) -> CheckpointFiles:
    """Return the files to load, safetensors before pickled weights.

    Raises:
        ModelError: one is missing or cannot be read, or the checkpoint wants to run its own code.
    """
    for name, holds in ((CONFIG, "the architecture"), (PREPROCESSOR, "the preprocessing")):
        if not (folder / name).is_file():
            raise ModelAway(
                f"model {key!r}: folder {folder} has no {name} ({holds}); "
                f"it must hold what transformers' save_pretrained writes"
            )
        _refuse_remote_code(key, _read_json(key, folder / name))
    for weights in (SAFETENSORS, PICKLED):
        shards = _weights(key, folder, weights)
        if shards:
            names = sorted({CONFIG, PREPROCESSOR, *shards})
            return CheckpointFiles(folder, tuple(names), weights == SAFETENSORS)
    raise ModelAway(
        f"model {key!r}: folder {folder} has no weights; it must hold {SAFETENSORS} or {PICKLED}"
    )


def digest(files: CheckpointFiles) -> str:
    """Return `sha256:` and the SHA-256 over each file's name and SHA-256, in order of name."""
    whole = hashlib.sha256()
    for name in files.names:
        with (files.folder / name).open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256")
        whole.update(f"{content.hexdigest()}  {name}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _weights(key: str, folder: Path, name: str) -> tuple[str, ...]:
    if (folder / name).is_file():
        return (name,)
    index = folder / (name + INDEX_SUFFIX)
    if not index.is_file():
        return ()
    shards = sorted(set(_read_json(key, index).get("weight_map", {}).values()))
    for shard in shards:
        if Path(shard).name != shard or not (folder / shard).is_file():
            raise ModelError(f"model {key!r}: {index} names {shard!r}, which is not in its folder")
    return (index.name, *shards)


def _read_json(key: str, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelAway(f"model {key!r}: {path} cannot be read: {error}") from error
    except ValueError as error:
        raise ModelError(f"model {key!r}: {path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"model {key!r}: {path} holds no JSON object")
    return content


def _refuse_remote_code(key: str, config: dict[str, Any]) -> None:
    wanted = sorted(_REMOTE_CODE & set(config.get("auto_map") or {}))
    if wanted:
        raise ModelError(
            f"model {key!r} comes with Python code of its own ({', '.join(wanted)}), which is "
            f"never run here; use a checkpoint of an architecture that transformers knows"
        )
