"""Loads a catalogue entry's model onto a device, and says exactly what was loaded."""

import hashlib
import json
import time
from dataclasses import replace
from typing import Any

import structlog
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageClassification
from transformers.utils import logging as transformers_logging

from schema.catalogue import ModelEntry
from schema.errors import ModelError
from schema.failures import ModelFailed
from schema.labels import Labels, read_labels
from schema.registry import ModelIdentity
from workers.models.files import CheckpointFiles, find_files
from workers.models.hub import resolve
from workers.models.loaded import LoadedModel
from workers.models.preprocess import Preprocessing
from workers.models.processor import load_processor, plain_steps
from workers.wording import one_line

__all__ = ["LoadedModel", "load_model", "resolve_device"]

_FINGERPRINT_DIGITS = 16
_NAMED_WEIGHTS = 3
_TRIAL_SIZE = (640, 480)

_log = structlog.get_logger(__name__)


def resolve_device(wanted: str) -> str:
    """Return `cpu` or `cuda:N` for auto, cpu, cuda or cuda:N.

    Raises:
        ModelError: that CUDA device is not there.
    """
    if wanted == "cpu":
        return "cpu"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return "cuda:0" if count else "cpu"
    index = int(wanted.partition(":")[2] or 0)
    if index >= count:
        raise ModelError(
            f"device {wanted!r} is not there: torch {torch.__version__} sees {count} CUDA "
            f"devices; set FAKESWEEP_DEVICE (or --device) to auto or cpu, or mend the driver"
        )
    return f"cuda:{index}"


def load_model(entry: ModelEntry, device: str, cpu_threads: int = 0) -> LoadedModel:
    """Load a model in float32 for scoring on `device` (auto, cpu, cuda or cuda:N).

    `cpu_threads` above 0 sets how many threads torch uses in this process on a CPU.

    Raises:
        ModelError: it cannot be found or loaded, its weights are not all there, its labels
            contradict the catalogue or are not understood, or the device is not there.
    """
    started = time.perf_counter()
    place = torch.device(resolve_device(device))
    _prepare_torch(place, cpu_threads)
    folder, revision = resolve(entry)
    try:
        model = _load(entry, find_files(entry.key, folder), revision, place)
        _refuse_unfit(model)
    except ModelError:
        raise
    except Exception as error:  # transformers' parsers raise whatever a bad checkpoint leads to
        raise ModelError(
            f"model {entry.key!r} cannot be loaded from {folder}: {one_line(error)}"
        ) from error
    return replace(model, seconds=time.perf_counter() - started)


def _load(
    entry: ModelEntry, files: CheckpointFiles, revision: str, place: torch.device
) -> LoadedModel:
    config = AutoConfig.from_pretrained(
        files.folder, trust_remote_code=False, local_files_only=True
    )
    labels = _labels(entry, config)
    processor = load_processor(entry.key, files.folder)
    steps = plain_steps(entry.key, processor)
    network = _load_network(entry.key, files, place)
    is_multi_label = config.problem_type == "multi_label_classification"
    described = _described(steps, processor, is_multi_label=is_multi_label)
    return LoadedModel(
        identity=ModelIdentity(
            key=entry.key,
            source=entry.source,
            revision=revision,
            fingerprint=_fingerprint(described, labels),
            architecture=type(network).__name__,
            preprocessing=described,
            labels=labels,
        ),
        seconds=0.0,
        device=place,
        network=network,
        preprocessing=processor if steps is None else steps,
        is_multi_label=is_multi_label,
    )


def _refuse_unfit(model: LoadedModel) -> None:
    """Score one image, so that a checkpoint that can score none is refused before it has work."""
    expected = len(model.identity.labels.names)
    try:
        (answer,) = model.classify([model.prepare(Image.new("RGB", _TRIAL_SIZE, "grey"))])
        if isinstance(answer, ModelFailed):
            raise answer
    except ModelFailed as failure:
        raise ModelError(f"model {model.identity.key!r} cannot score an image: {failure}") from None
    if len(answer) != expected:
        raise ModelError(
            f"model {model.identity.key!r} gives {len(answer)} scores, but its config.json names "
            f"{expected} classes"
        )


def _prepare_torch(place: torch.device, cpu_threads: int) -> None:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if place.type == "cpu" and cpu_threads > 0:
        torch.set_num_threads(cpu_threads)
    if place.type == "cuda":
        # Convolutions would otherwise round float32 to 10 bits of mantissa.
        torch.backends.cudnn.allow_tf32 = False


def _labels(entry: ModelEntry, config: Any) -> Labels:
    if config.problem_type == "regression":
        raise ModelError(f"model {entry.key!r} predicts a quantity, not classes")
    try:
        names = [str(config.id2label[index]) for index in range(config.num_labels)]
    except KeyError as error:
        raise ModelError(
            f"model {entry.key!r}: id2label in its config.json has no name for class {error}"
        ) from error
    return read_labels(entry.key, names, entry.labels)


def _load_network(key: str, files: CheckpointFiles, place: torch.device) -> torch.nn.Module:
    network, report = AutoModelForImageClassification.from_pretrained(
        files.folder,
        dtype=torch.float32,
        output_loading_info=True,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=files.is_safetensors,
        weights_only=True,
    )
    absent = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if absent:
        raise ModelError(
            f"model {key!r}: its checkpoint lacks {len(absent)} of the weights that "
            f"{type(network).__name__} needs ({', '.join(absent[:_NAMED_WEIGHTS])}); "
            f"they would be random numbers"
        )
    trunk = f"{network.base_model_prefix}."
    spare = sorted(name for name in report["unexpected_keys"] if not name.startswith(trunk))
    if spare:
        _log.warning("checkpoint_has_unused_weights", model=key, weights=spare[:_NAMED_WEIGHTS])
    placed: torch.nn.Module = network.to(place).eval()
    return placed


def _described(
    steps: Preprocessing | None, processor: Any, *, is_multi_label: bool
) -> dict[str, Any]:
    by_processor = {"processor": processor.to_dict()}
    described = {
        "decode": "exact",
        "exif": "applied",
        "convert": "RGB",
        "steps": by_processor if steps is None else steps.described(),
        "precision": "float32",
        "scores": "sigmoid" if is_multi_label else "softmax",
    }
    plain: dict[str, Any] = json.loads(json.dumps(described, default=str))
    return plain


def _fingerprint(described: dict[str, Any], labels: Labels) -> str:
    decisive = {
        "preprocessing": described,
        "labels": [*zip(labels.names, labels.sides, strict=True)],
    }
    canonical = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_FINGERPRINT_DIGITS]
