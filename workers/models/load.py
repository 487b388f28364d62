"""Model loading: a catalogue entry becomes a model on a device, with its exact identity."""

import gc
import hashlib
import json
import threading
import time
from typing import Any

import structlog
import torch
from transformers import AutoConfig, AutoModelForImageClassification
from transformers.utils import logging as transformers_logging

from fakesweep.schema.errors import DeviceError, ModelAway, ModelError
from fakesweep.schema.failures import ModelFailed
from fakesweep.schema.judging.catalogue import ModelEntry
from fakesweep.schema.judging.labels import Labels, Side, read_labels
from fakesweep.schema.ledger.registry.models import ModelIdentity
from fakesweep.workers.error_text import one_line
from fakesweep.workers.models.bfloat16 import prepare_for_cpu
from fakesweep.workers.models.cpu import CpuEngine
from fakesweep.workers.models.files import CheckpointFiles, find_files
from fakesweep.workers.models.gpu import GpuEngine
from fakesweep.workers.models.hub import resolve
from fakesweep.workers.models.loaded import TRIAL, LoadedModel, is_out_of_memory
from fakesweep.workers.models.place import Place, Precision
from fakesweep.workers.models.processor import load_processor, plain_steps
from fakesweep.workers.models.sizing import fit
from fakesweep.workers.sandbox.preprocess import Preprocessing

__all__ = ["LoadedModel", "load_model"]

_FINGERPRINT_DIGITS = 16
_NAMED_WEIGHTS = 3

_ON_DEVICE = threading.Lock()
"""Serialises placing, timing and compiling, which disturb each other; downloads run in parallel."""

SPARE_WEIGHTS = 50_000_000
"""Missing weights that are tolerated before memory is allocated; loading itself refuses any."""

_log = structlog.get_logger(__name__)


def load_model(
    entry: ModelEntry,
    place: Place,
    *,
    decoding: str = "exact",
    cpu_threads: int = 0,
    call_images: int = 0,
) -> LoadedModel:
    """Load a model for scoring at a place.

    `decoding` is the mode in which its images are decoded. `cpu_threads` is its number of threads
    on a CPU, `call_images` the largest number of images in a call; 0 derives either from the
    measured cost of an image.

    Raises:
        ModelError: the model cannot be found or loaded, lacks weights, or has labels that
            contradict the catalogue or are not understood.
        ModelAway: temporary: files are missing, the Hub does not answer, or memory is short.
        DeviceError: the device is broken.
    """
    started = time.perf_counter()
    _prepare_torch(place)
    folder, revision = resolve(entry)
    try:
        with _ON_DEVICE:
            model = _load(entry, find_files(entry.key, folder), revision, place, decoding)
            _refuse_unfit(model)
            fit(model, cpu_threads=cpu_threads, call_images=call_images)
    except ModelError:
        raise
    except Exception as error:  # transformers raises any class on a bad checkpoint
        if _may_pass(error):
            _free(place)
            raise ModelAway(
                f"model {entry.key!r} cannot be loaded now from {folder}: {one_line(error)}"
            ) from error
        if isinstance(error, DeviceError):
            raise
        if isinstance(error, torch.AcceleratorError):
            raise DeviceError(f"device {place.device}: {one_line(error)}") from error
        raise ModelError(
            f"model {entry.key!r} cannot be loaded from {folder}: {one_line(error)}"
        ) from error
    model.seconds = time.perf_counter() - started
    return model


def _may_pass(error: BaseException) -> bool:
    """Return whether a load failed for a temporary cause: lack of memory or a missing file."""
    if isinstance(error, DeviceError):
        return error.__cause__ is not None and _may_pass(error.__cause__)
    if isinstance(error, OSError):
        return error.errno is not None
    return isinstance(error, MemoryError) or is_out_of_memory(error)


def _free(place: Place) -> None:
    gc.collect()
    if place.device.type == "cuda":
        torch.cuda.empty_cache()


def _load(
    entry: ModelEntry, files: CheckpointFiles, revision: str, place: Place, decoding: str
) -> LoadedModel:
    config = AutoConfig.from_pretrained(
        files.folder, trust_remote_code=False, local_files_only=True
    )
    labels = _labels(entry, config)
    processor = load_processor(entry.key, files.folder)
    steps = plain_steps(entry.key, processor)
    _refuse_larger_than_weights(entry.key, files, config)
    network = _load_network(entry.key, files, place)
    is_multi_label = config.problem_type == "multi_label_classification"
    decode = "exact" if steps is None or steps.needed_side is None else decoding
    described = _described(steps, processor, decode, place, is_multi_label=is_multi_label)
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
        place=place,
        engine=open_inference(entry.key, network, place, steps, is_multi_label=is_multi_label),
        preprocessing=processor if steps is None else steps,
    )


def open_inference(
    key: str,
    network: Any,
    place: Place,
    steps: Preprocessing | None,
    *,
    is_multi_label: bool = False,
) -> CpuEngine | GpuEngine:
    """Return the engine of a network for a place."""
    if place.device.type == "cuda":
        return GpuEngine(network, place, steps, is_multi_label=is_multi_label)
    if place.precision is Precision.BFLOAT16:
        prepare_for_cpu(key, network)
    return CpuEngine(network, place.precision, steps, is_multi_label=is_multi_label)


def _refuse_unfit(model: LoadedModel) -> None:
    """Score one image, to refuse a checkpoint that cannot score before it gets work."""
    expected = len(model.identity.labels.names)
    try:
        (answer,) = model.classify([model.prepare(TRIAL)])
        if isinstance(answer, ModelFailed):
            raise answer
    except ModelFailed as failure:
        raise ModelError(f"model {model.identity.key!r} cannot score an image: {failure}") from None
    if len(answer) != expected:
        raise ModelError(
            f"model {model.identity.key!r} gives {len(answer)} scores, but its config.json names "
            f"{expected} classes"
        )


def _prepare_torch(place: Place) -> None:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if place.device.type == "cuda":
        # By default convolutions round float32 to 10 bits of mantissa.
        torch.backends.cudnn.allow_tf32 = False


def _labels(entry: ModelEntry, config: Any) -> Labels:
    if config.num_labels == 1:
        return _labels_of_one(entry, config)
    if config.problem_type == "regression":
        raise ModelError(f"model {entry.key!r} predicts a quantity, not classes")
    try:
        names = [str(config.id2label[index]) for index in range(config.num_labels)]
    except KeyError as error:
        raise ModelError(
            f"model {entry.key!r}: id2label in its config.json has no name for class {error}"
        ) from error
    return read_labels(entry.key, names, entry.labels)


def _labels_of_one(entry: ModelEntry, config: Any) -> Labels:
    """Read a single output as the log-odds of the catalogue's side."""
    if entry.labels is None or len(entry.labels) != 1:
        raise ModelError(
            f"model {entry.key!r} has a single output ({config.id2label.get(0)!r}), so no real "
            f"class or no fake one beside it; say in your catalogue file which side it is, as "
            f'labels = ["fake"] or ["real"], and it is read as a sigmoid (docs/models.md)'
        )
    [side] = entry.labels
    name = str(config.id2label.get(0, "LABEL_0"))
    other = Side.FAKE if side is Side.REAL else Side.REAL
    return read_labels(entry.key, [name, f"other than {name}"], (side, other))


def _refuse_larger_than_weights(key: str, files: CheckpointFiles, config: Any) -> None:
    """Refuse an architecture with more weights than its files hold, before allocating memory."""
    with torch.device("meta"):
        network = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    needed = sum(weight.numel() for weight in network.parameters())
    there = sum((files.folder / name).stat().st_size for name in files.names)
    if needed > max(there, SPARE_WEIGHTS):  # a weight has at least a byte
        raise ModelError(
            f"model {key!r}: by its config.json it has {needed} weights, its files {there} bytes"
        )


def _load_network(key: str, files: CheckpointFiles, place: Place) -> torch.nn.Module:
    network, report = AutoModelForImageClassification.from_pretrained(
        files.folder,
        dtype=place.precision.dtype,
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
    placed: torch.nn.Module = network.to(place.device).eval()
    return placed


def _described(
    steps: Preprocessing | None,
    processor: Any,
    decode: str,
    place: Place,
    *,
    is_multi_label: bool,
) -> dict[str, Any]:
    by_processor = {"processor": processor.to_dict()}
    described = {
        "decode": decode,
        "exif": "applied",
        "convert": "RGB",
        "steps": by_processor if steps is None else steps.described(),
        "precision": place.precision.value,
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
