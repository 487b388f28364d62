"""Files of a checkpoint folder: the required ones, the loaded ones, and their digest."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakesweep.schema.errors import ModelAway, ModelError
from fakesweep.workers.models.configuration import refuse_unfit, refuse_unknown_architecture

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
SAFETENSORS = "model.safetensors"
PICKLED = "pytorch_model.bin"
INDEX_SUFFIX = ".index.json"

LARGEST_JSON_BYTES = 4 * 1024**2
"""Size limit; an index of many shards has hundreds of kilobytes, a configuration a few."""


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """Files of a folder that determine its scores; `names` are sorted."""

    folder: Path
    names: tuple[str, ...]
    is_safetensors: bool


def find_files(key: str, folder: Path) -> CheckpointFiles:
    """Return the files to load, safetensors in preference to pickled weights.

    Raises:
        ModelError: a file is missing or unreadable, or the checkpoint has its own code.
    """
    described = [name for name in (CONFIG, PREPROCESSOR, PROCESSOR) if (folder / name).is_file()]
    if CONFIG not in described:
        raise _absent(key, folder, CONFIG, "the architecture")
    contents = {name: _read_json(key, folder / name) for name in described}
    for name, content in contents.items():
        refuse_unfit(key, name, content)
    refuse_unknown_architecture(key, contents[CONFIG])
    if PREPROCESSOR not in described and "image_processor" not in contents.get(PROCESSOR, {}):
        raise _absent(key, folder, PREPROCESSOR, "the preprocessing")
    for weights in (SAFETENSORS, PICKLED):
        shards = _weights(key, folder, weights)
        if shards:
            names = sorted({*described, *shards})
            return CheckpointFiles(folder, tuple(names), weights == SAFETENSORS)
    raise ModelAway(
        f"model {key!r}: folder {folder} has no weights; it must hold {SAFETENSORS} or {PICKLED}"
    )


def _absent(key: str, folder: Path, name: str, holds: str) -> ModelAway:
    also = f", nor {PROCESSOR} with an image_processor" if name == PREPROCESSOR else ""
    return ModelAway(
        f"model {key!r}: folder {folder} has no {name} ({holds}){also}; "
        f"it must hold what transformers' save_pretrained writes"
    )


def digest(files: CheckpointFiles) -> str:
    """Return `sha256:` and the SHA-256 over each file's name and SHA-256, sorted by name."""
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
    weight_map = _read_json(key, index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"model {key!r}: weight_map in {index} names no files")
    if not all(isinstance(shard, str) for shard in weight_map.values()):
        raise ModelError(f"model {key!r}: weight_map in {index} holds what is no file's name")
    shards = sorted(set(weight_map.values()))
    for shard in shards:
        if Path(shard).name != shard or "\0" in shard or not (folder / shard).is_file():
            raise ModelError(
                f"model {key!r}: {index} names {shard[:200]!r}, which is not in its folder"
            )
    return (index.name, *shards)


def _read_json(key: str, path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_JSON_BYTES:
            raise ModelError(
                f"model {key!r}: {path} has more than {LARGEST_JSON_BYTES} bytes, which is no "
                f"configuration"
            )
        content = json.loads(path.read_text("utf-8"))
    except RecursionError as error:
        raise ModelError(f"model {key!r}: {path} is nested too deep") from error
    except OSError as error:
        raise ModelAway(f"model {key!r}: {path} cannot be read: {error}") from error
    except ValueError as error:
        raise ModelError(f"model {key!r}: {path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"model {key!r}: {path} holds no JSON object")
    return content
