"""Folders and files of one's own: what lies there already is looked at before it is trusted."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def own_folder(path: Path, *, close: bool = False) -> Path:
    """Return the folder, made where it is missing; nobody else may write there, nor read.

    With `close`, one of this user's own that is open to others is closed to them.

    Raises:
        OSError: it cannot be made, or is a link, another user's, or open to others.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if close:
        _check(path, 0)
        path.chmod(0o700)
    _check(path, 0o077)
    return path


def new_file(path: Path) -> BinaryIO:
    """Return a file for this user's eyes alone, opened for writing; no link is followed.

    Raises:
        OSError: something of that name is there, or it cannot be made.
    """
    way = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return open(os.open(path, way, 0o600), "wb")  # noqa: PTH123 - a descriptor has no path


def runtime_folder() -> Path:
    """Return the folder for what lives as long as a process: the session's, or a temporary one.

    Raises:
        OSError: there is none that nobody else can write to.
    """
    refused: OSError | None = None
    for place in _runtime_places():
        try:
            return own_folder(place)
        except OSError as error:
            refused = error
    assert refused is not None  # noqa: S101 - for the type checker
    raise refused


def runtime_folders() -> list[Path]:
    """Return every such folder that is there, as processes of other sessions use others.

    Raises:
        OSError: none is there, nor can be made.
    """
    found = []
    for place in _runtime_places():
        try:
            _check(place, 0o077)
        except OSError:
            continue
        found.append(place)
    return found or [runtime_folder()]


def _runtime_places() -> Iterator[Path]:
    session = os.environ.get("XDG_RUNTIME_DIR", "")
    if session.startswith("/"):
        try:
            _check(Path(session), 0o077)
        except OSError:
            pass
        else:
            yield Path(session) / "fakesweep"
    yield Path(tempfile.gettempdir()) / f"fakesweep-{os.geteuid()}"


def _check(path: Path, closed: int) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & closed:
        raise PermissionError(f"{path} is not a private folder of this user; remove it")
