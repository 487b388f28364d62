"""Judging single pictures from Python, without servers: `fakesweep.check`."""

import atexit
import io
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fakesweep.extras import require_worker_extra
from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.judging.catalogue import DEFAULT_MODEL, DEFAULT_POLICY, read_catalogue
from fakesweep.schema.settings import Settings, read_settings
from fakesweep.schema.uris import from_path

if TYPE_CHECKING:
    from fakesweep.workers.single_picture import Check, Checker

_LOSSLESS = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}
"""Pillow's modes that PNG keeps as they are; TIFF keeps the others that a file can have."""

_lock = threading.Lock()
_checkers: "dict[Settings, Checker]" = {}
_inherited: "list[Checker]" = []
"""What a process got from the one it was forked from: never used, nor closed under that one."""


class Picture(Protocol):
    """A picture as Pillow holds it (`PIL.Image.Image`)."""

    @property
    def mode(self) -> str: ...  # noqa: D102 - Pillow's own
    def save(self, fp: Any, format: str, **options: Any) -> None: ...  # noqa: A002, D102 - Pillow's name
    def getexif(self) -> Any: ...  # noqa: D102 - Pillow's own


def check(
    picture: str | Path | bytes | Picture,
    *,
    model: str | None = None,
    policy: str = DEFAULT_POLICY,
) -> "Check":
    """Judge one picture as a worker would, without queue, database or ledger.

    `picture` is a file's path, a URI (s3://, https://), a file's bytes, or a Pillow image, whose
    current frame counts. `model` is a catalogue key, a folder or a Hub id; None takes that of
    FAKESWEEP_MODELS, or the bundled one. The picture is decoded in a process of its own, under a
    worker's limits; a model is loaded once in a process. Any thread may call.

    Raises:
        ImageFailure: the picture cannot be had, decoded or scored; its `code` says which.
        CatalogueError: the model or the policy is not known.
        ModelError: the model cannot be loaded, or what it needs is not installed.
        TypeError: `picture` is none of these.
    """
    return check_by(picture, [] if model is None else [model], policy)[0]


def check_by(
    picture: str | Path | bytes | Picture, models: "list[str]", policy: str = DEFAULT_POLICY
) -> "list[Check]":
    """Do as `check` does, by several models; the picture is decoded once."""
    settings = read_settings()
    cuts = read_catalogue(settings.catalogue).policy(policy)
    asked, uri = _readable(picture)
    chosen = models or list(settings.models[:1]) or [DEFAULT_MODEL]
    return _checker(settings).check(asked, chosen, cuts, uri)


def _readable(picture: str | Path | bytes | Picture) -> tuple[bytes | str, str | None]:
    """Return bytes, or the URI of what is to be fetched; and what the picture is called."""
    match picture:
        case "":
            raise InvalidUri("it is empty; name a file, s3://bucket/key or https://host/path")
        case str() if "://" in picture:
            return picture, picture
        case str() | Path():
            uri = from_path(Path(picture).expanduser().absolute())
            return uri, str(picture)
        case bytes():
            return picture, None
        case _ if hasattr(picture, "save") and hasattr(picture, "mode"):
            return _encoded(picture), None
    raise TypeError(
        f"a picture is a path, a URI, bytes or a Pillow image, not {type(picture).__name__}"
    )


def _encoded(picture: Picture) -> bytes:
    """Return a Pillow image as a file that holds the very pixels, and their orientation."""
    file = io.BytesIO()
    form = "PNG" if picture.mode in _LOSSLESS else "TIFF"
    exif = picture.getexif()
    picture.save(file, form, **({"exif": exif} if exif else {}))
    return file.getvalue()


def _checker(settings: Settings) -> "Checker":
    with _lock:
        if settings not in _checkers:
            require_worker_extra()
            from fakesweep.workers.single_picture import Checker  # noqa: PLC0415 - it needs the worker extra

            _checkers[settings] = Checker(settings, read_catalogue(settings.catalogue))
        return _checkers[settings]


def _close() -> None:
    with _lock:
        while _checkers:
            _checkers.popitem()[1].close()


def _forget() -> None:
    """Begin anew in a forked process: loaders and threads of a device are its parent's."""
    global _lock  # noqa: PLW0603 - somebody may have held it
    _lock = threading.Lock()
    _inherited.extend(_checkers.values())
    _checkers.clear()


atexit.register(_close)
os.register_at_fork(after_in_child=_forget)
