"""Private folders and files, checked for owner and mode before they are trusted."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def own_folder(path: Path, *, close: bool = False) -> Path:
    """Return a private folder, created where missing: no other user may read or write it.

    With `close`, an open folder of this user is made private.

    Raises:
        OSError: it cannot be created, or is a link, another user's, or open to others.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if close:
        _check(path, 0)
        path.chmod(0o700)
    _check(path, 0o077)
    return path


def new_file(path: Path) -> BinaryIO:
    """Create a private file for writing, without following links.

    Raises:
        OSError: the name exists, or the file cannot be created.
    """
    way = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return open(os.open(path, way, 0o600), "wb")  # noqa: PTH123 - a descriptor has no path


def runtime_folder() -> Path:
    """Return the folder for runtime files: the session's, or a temporary one.

    Raises:
        OSError: none is private.
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
    """Return every existing runtime folder, as other sessions' processes use others.

    Raises:
        OSError: none exists or can be created.
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
