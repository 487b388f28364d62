"""Reads image files: regular files below the allowed folders, and nothing else."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fakesweep.schema.failures import (
    AccessDenied,
    FetchFailure,
    FetchTimedOut,
    ImageNotFound,
    SourceUnavailable,
)
from fakesweep.workers.fetch.body import check_size, read_pieces
from fakesweep.workers.fetch.retry import Deadline, Transient

if TYPE_CHECKING:
    from fakesweep.schema.settings import Settings

_NO_SUCH_FILE = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENXIO,
    errno.ENODEV,
}


def real_roots(settings: "Settings") -> tuple[str, ...]:
    """Return the allowed folders with links resolved, each ending in a slash."""
    return tuple(os.path.realpath(root).rstrip("/") + "/" for root in settings.file_roots)


def read_file(
    path: Path, roots: tuple[str, ...], settings: "Settings", deadline: Deadline
) -> bytes:
    """Read a whole file; `roots` come from `real_roots`.

    Raises:
        Transient: the file system answered with a temporary error.
        FetchFailure: the file is outside `roots`, missing, unreadable or too large.
    """
    if not roots:
        raise AccessDenied("no file is read here: FAKESWEEP_FILE_ROOTS is unset")
    try:
        with _found(path, roots) as found:
            # Opens the checked file, even if its path has changed. O_NONBLOCK: a pipe would block.
            descriptor = os.open(found, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - an open descriptor
            check_size(os.fstat(descriptor).st_size, settings)
            return read_pieces(file.read, settings, deadline)
    except OSError as error:
        raise _explained(error) from error


@contextmanager
def _found(path: Path, roots: tuple[str, ...]) -> Iterator[str]:
    """Yield a stable name of a regular file below the roots, without opening the file."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        # The answer must not reveal which files exist outside the roots.
        _refuse_outside(os.path.realpath(path), roots)
        raise
    try:
        name = f"/proc/self/fd/{place}"
        _refuse_outside(os.readlink(name), roots)  # noqa: PTH115 - text, at half the cost
        _refuse_special(os.fstat(place).st_mode)
        yield name
    finally:
        os.close(place)


def _refuse_outside(real_path: str, roots: tuple[str, ...]) -> None:
    if not f"{real_path}/".startswith(roots):
        raise AccessDenied("the file is outside the folders of FAKESWEEP_FILE_ROOTS")


def _refuse_special(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise ImageNotFound("this is a folder, not a file")
    if not stat.S_ISREG(mode):
        raise ImageNotFound("this is no regular file")


def _explained(error: OSError) -> Transient | FetchFailure:
    host = socket.gethostname()
    match error:
        case PermissionError():
            return AccessDenied(f"the worker on {host} may not read the file: {error.strerror}")
        case _ if error.errno in _NO_SUCH_FILE:
            return ImageNotFound(f"there is no such file on {host}: {error.strerror}")
        case TimeoutError():
            return Transient(FetchTimedOut(f"the file cannot be read on {host}: {error.strerror}"))
        case _:
            reason = f"the file cannot be read on {host}: {error.strerror}"
            return Transient(SourceUnavailable(reason))
