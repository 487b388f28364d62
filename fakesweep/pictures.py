"""Verdicts on single pictures from Python, without servers: `fakesweep.check`."""

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
"""Pillow modes that PNG stores exactly; TIFF stores the other modes of files."""

_lock = threading.Lock()
_checkers: "dict[Settings, Checker]" = {}
_inherited: "list[Checker]" = []
"""Checkers inherited by a fork: kept alive, since closing them would close the parent's."""


class Picture(Protocol):
    """A Pillow image (`PIL.Image.Image`)."""

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

    `picture` is a file's path, a URI (s3://, https://), a file's bytes, or a Pillow image, of which
    the current frame is judged. `model` is a catalogue key, a folder or a Hub id; by default the
    first of FAKESWEEP_MODELS, else the bundled model. The picture is decoded in a sandboxed process
    under a worker's limits. A model is loaded once per process. Thread-safe.

    Raises:
        ImageFailure: the picture cannot be fetched, decoded or scored; `code` says which.
        CatalogueError: the model or the policy is unknown.
        ModelError: the model cannot be loaded, or the worker extra is not installed.
        TypeError: `picture` is none of these.
    """
    return check_by(picture, [] if model is None else [model], policy)[0]


def check_by(
    picture: str | Path | bytes | Picture, models: "list[str]", policy: str = DEFAULT_POLICY
) -> "list[Check]":
    """Judge one picture by several models, as `check` does; the picture is decoded once."""
    settings = read_settings()
    cuts = read_catalogue(settings.catalogue).policy(policy)
    asked, uri = _readable(picture)
    chosen = models or list(settings.models[:1]) or [DEFAULT_MODEL]
    return _checker(settings).check(asked, chosen, cuts, uri)


def _readable(picture: str | Path | bytes | Picture) -> tuple[bytes | str, str | None]:
    """Return the picture's bytes, or the URI to fetch it from; and its name."""
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
    """Return a Pillow image as a lossless file, with its EXIF orientation."""
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
    """Drop the checkers in a forked child: their processes and threads are the parent's."""
    global _lock  # noqa: PLW0603 - a thread may have held the old one at the fork
    _lock = threading.Lock()
    _inherited.extend(_checkers.values())
    _checkers.clear()


atexit.register(_close)
os.register_at_fork(after_in_child=_forget)
