"""Processes that use a home's servers, each with a locked file."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_FOLDER = "at-work"


@dataclass(frozen=True, slots=True)
class Use:
    """A process that uses the servers, and its description, such as `producer`."""

    pid: int
    what: str

    def __str__(self) -> str:
        return f"{self.what} (pid {self.pid})"


@contextmanager
def in_use(home: Path, what: str) -> Iterator[None]:
    """Register this process by a locked file; the system releases the lock when it dies.

    Raises:
        OSError: the file cannot be written.
    """
    folder = home / _FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / str(os.getpid())
    within = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        way = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(path.name, way, 0o600, dir_fd=within)
        _leave_to_owner(home, within, descriptor)
    finally:
        os.close(within)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        os.truncate(descriptor, 0)
        os.write(descriptor, what.encode())
        yield
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def other_uses(home: Path) -> Sequence[Use]:
    """Return the other registered processes, by pid; files of dead ones are removed.

    Raises:
        OSError: the folder cannot be read.
    """
    folder = home / _FOLDER
    if not folder.is_dir():
        return []
    found = (_use(path) for path in folder.iterdir() if path.name.isdecimal())
    return sorted((use for use in found if use is not None), key=lambda use: use.pid)


def _leave_to_owner(home: Path, *made: int) -> None:
    """As root, change the owner of files to the home's owner."""
    owner = home.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for one in made:
            os.chown(one, owner.st_uid, owner.st_gid)


def _use(path: Path) -> Use | None:
    pid = int(path.name)
    if pid == os.getpid():  # closing it here would release our own lock
        return None
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return Use(pid, os.read(descriptor, 200).decode(errors="replace"))
    else:
        with suppress(FileNotFoundError):
            path.unlink()
        return None
    finally:
        os.close(descriptor)
