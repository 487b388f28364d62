"""Checkpoint lookup: the package, a folder, the Hub's cache, or the Hub."""

import sys
from pathlib import Path

import structlog
from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

from fakesweep.schema.errors import ModelAway, ModelError
from fakesweep.schema.judging.catalogue import BUNDLED, ModelEntry
from fakesweep.workers.error_text import one_line
from fakesweep.workers.models.files import (
    CONFIG,
    INDEX_SUFFIX,
    PICKLED,
    PREPROCESSOR,
    PROCESSOR,
    SAFETENSORS,
    digest,
    find_files,
)

_CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"

_FINAL = (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
"""Permanent errors; the Hub's other errors and its timeouts are temporary."""

_PASSING = (408, 425, 429)

_log = structlog.get_logger(__name__)


def resolve(entry: ModelEntry) -> tuple[Path, str]:
    """Return the folder of a checkpoint and its exact revision.

    The revision is a commit of the Hub, or a folder's `sha256:` digest of the loaded files. A
    cached pinned revision needs no request. Without a pin the Hub is asked for the newest
    revision; where it cannot be reached, the cache serves.

    Raises:
        ModelError: the checkpoint does not exist or cannot be fetched.
    """
    folder = _local_folder(entry)
    if folder is not None:
        return folder, digest(find_files(entry.key, folder))
    cached = _cached(entry)
    if cached is not None and (entry.revision is not None or constants.HF_HUB_OFFLINE):
        return cached
    try:
        return _download(entry, shows_progress=False)
    except ModelError as error:
        if cached is None:
            raise
        _log.warning("hub_failed_cache_used", model=entry.key, revision=cached[1], why=str(error))
        return cached


def pull(entry: ModelEntry) -> tuple[Path, str]:
    """Download a checkpoint into the Hub's local cache; return its folder and revision.

    On a terminal the Hub's client shows its progress on standard error.

    Raises:
        ModelError: the Hub cannot be reached, or has no such checkpoint.
    """
    if _local_folder(entry) is not None:
        return resolve(entry)
    return _download(entry, shows_progress=sys.stderr.isatty())


def check(entry: ModelEntry) -> None:
    """Check that a model is available, without loading or downloading it.

    Raises:
        ModelError: its folder lacks files, or neither cache nor Hub has it.
    """
    folder = _local_folder(entry)
    if folder is not None:
        find_files(entry.key, folder)
    elif _cached(entry) is None:
        _ask_hub(entry)


def is_cached(entry: ModelEntry) -> bool:
    """Return whether the local cache holds a Hub model's complete checkpoint."""
    return _cached(entry) is not None


def _local_folder(entry: ModelEntry) -> Path | None:
    if entry.source.startswith(BUNDLED):
        folder = _CHECKPOINTS / entry.source.removeprefix(BUNDLED)
    elif Path(entry.source).is_absolute():
        folder = Path(entry.source)
    else:
        return None
    if not folder.is_dir():
        raise ModelAway(f"model {entry.key!r}: its folder {folder} does not exist")
    return folder


def _cached(entry: ModelEntry) -> tuple[Path, str] | None:
    """Return the cached snapshot, None where it is missing or incomplete."""
    try:
        path = try_to_load_from_cache(entry.source, CONFIG, revision=entry.revision)
    except HFValidationError as error:
        raise ModelError(_explain(entry, error)) from error
    if not isinstance(path, str):
        return None
    folder = Path(path).parent
    try:
        find_files(entry.key, folder)
    except ModelError:
        return None
    return folder, folder.name


def _download(entry: ModelEntry, *, shows_progress: bool) -> tuple[Path, str]:
    (enable_progress_bars if shows_progress else disable_progress_bars)()
    # This request fails at once; the download itself would retry for half a minute.
    names = _ask_hub(entry)
    try:
        folder = Path(
            snapshot_download(
                entry.source, revision=entry.revision, allow_patterns=_patterns(names)
            )
        )
    except Exception as error:  # each of the client's transports raises its own classes
        raise _refusal(entry, error) from error
    try:
        find_files(entry.key, folder)
    except ModelAway as error:  # the Hub itself lacks the files
        raise ModelError(str(error)) from error
    return folder, folder.name


def _ask_hub(entry: ModelEntry) -> list[str]:
    """Return the names of a checkpoint's files on the Hub."""
    try:
        about = HfApi().model_info(
            entry.source, revision=entry.revision, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
    except Exception as error:  # each of the client's transports raises its own classes
        raise _refusal(entry, error) from error
    return [file.rfilename for file in about.siblings or ()]


def _refusal(entry: ModelEntry, error: Exception) -> ModelError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    is_refused = status is not None and 400 <= status < 500 and status not in _PASSING  # noqa: PLR2004
    is_final = isinstance(error, _FINAL) or is_refused or constants.HF_HUB_OFFLINE
    return (ModelError if is_final else ModelAway)(_explain(entry, error))


def _patterns(names: list[str]) -> list[str]:
    has_safetensors = SAFETENSORS in names or SAFETENSORS + INDEX_SUFFIX in names
    stem, suffix = (SAFETENSORS if has_safetensors else PICKLED).split(".")
    return [CONFIG, PREPROCESSOR, PROCESSOR, f"{stem}.{suffix}*", f"{stem}-*.{suffix}"]


def _explain(entry: ModelEntry, error: Exception) -> str:
    what = f"model {entry.key!r} ({entry.source}"
    what += f" at {entry.revision})" if entry.revision else ")"
    match error:
        case GatedRepoError():
            return f"{what} is gated: accept its terms on the Hub and set HF_TOKEN"
        case RevisionNotFoundError():
            return f"{what} has no such revision on the Hub; correct `revision` in the catalogue"
        case RepositoryNotFoundError():
            return f"{what} does not exist on the Hub, or is private: check the id or set HF_TOKEN"
        case HFValidationError():
            return f"{what} is no valid Hub id"
        case _:
            return (
                f"{what} is not in the cache {constants.HF_HUB_CACHE} and the Hub cannot be "
                f"reached ({one_line(error)}); run `fakesweep models pull {entry.key}` where it "
                f"can be and copy that cache here, or give a checkpoint folder instead "
                f"(HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE apply; docs/models.md)"
            )
