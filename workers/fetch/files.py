"""Images in files: regular ones only, so that no pipe or device is ever opened."""

import errno
import os
import socket
import stat
from pathlib import Path

from schema.failures import (
    AccessDenied,
    FetchFailure,
    FetchTimedOut,
    ImageNotFound,
    SourceUnavailable,
)
from schema.settings import Settings
from workers.fetch.attempts import Deadline, Transient
from workers.fetch.bodies import check_size, read_pieces

_NO_SUCH_FILE = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENXIO,
    errno.ENODEV,
}


def read_file(path: Path, settings: Settings, deadline: Deadline) -> bytes:
    """Read a file whole.

    Raises:
        Transient: the file system answered with an error that may pass.
        FetchFailure: there is no such file here, it may not be read, or is too large.
    """
    try:
        _refuse_special(path.stat().st_mode)
        # A pipe put there since would block the open, but for this flag.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - an open descriptor
            found = os.fstat(descriptor)
            _refuse_special(found.st_mode)
            check_size(found.st_size, settings)
            return read_pieces(file.read, settings, deadline)
    except OSError as error:
        raise _explained(error) from error


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
