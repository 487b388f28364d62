"""Accounts of the servers: root runs them as another user, since PostgreSQL refuses root."""

import errno
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fakesweep.schema.errors import StackError

NAME = "pgserver"

_SYSTEM_PATH = "/usr/sbin:/sbin"
_READ = stat.S_IROTH
_PASS = stat.S_IXOTH
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Account:
    """An ordinary user that owns the servers' files and processes."""

    uid: int
    gid: int


def server_account(postgres: Path) -> Account | None:
    """Return the account of the servers: None for the caller's own.

    For root it is the owner of the folder `postgres`, so that a user's stack stays theirs, or else
    the account `pgserver`, which is created if needed.

    Raises:
        StackError: `pgserver` cannot be created.
    """
    if os.geteuid() != 0:
        return None
    if postgres.exists() and (owner := postgres.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        entry = _add_account()
    return Account(entry.pw_uid, entry.pw_gid)


def check_home(home: Path) -> None:
    """Check that no other user controls the home.

    Raises:
        OSError: the home is another user's, others may write to it, or, for root, it holds another
            user's link.
    """
    try:
        found = home.lstat()
    except FileNotFoundError:
        return
    if os.geteuid() not in (0, found.st_uid):
        raise PermissionError(errno.EACCES, "Permission denied, as it is another user's", str(home))
    if stat.S_ISDIR(found.st_mode) and found.st_mode & _OTHERS_WRITE:
        said = "others may write to it, which `chmod go-w` ends"
        raise PermissionError(errno.EACCES, said, str(home))
    for entry in home.iterdir() if os.geteuid() == 0 and home.is_dir() else ():
        if entry.is_symlink() and entry.lstat().st_uid != 0:
            raise PermissionError(errno.EACCES, "root follows no link of another user", str(entry))


def give(folder: Path, account: Account | None) -> None:
    """Change a folder's owner to the account."""
    if account:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)


def open_private(path: Path, account: Account | None) -> BinaryIO:
    """Create a file that only the account can read, in place of any old one."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    if account:
        os.fchown(descriptor, account.uid, account.gid)
    return open(descriptor, "wb")  # noqa: PTH123 - a descriptor has no path


def write_private(path: Path, words: str, account: Account | None) -> None:
    """Write a file that only the account can read, atomically."""
    unfinished = path.with_name(path.name + ".unfinished")
    with open_private(unfinished, account) as written:
        written.write(words.encode())
    unfinished.replace(path)


def open_way(path: Path, account: Account | None) -> None:
    """Let the account reach `path`: the folders above get the x bit for all, not the r bit."""
    if account is None:
        return
    for folder in path.parents:
        status = folder.stat()
        if status.st_uid != account.uid and not status.st_mode & _PASS:
            folder.chmod(stat.S_IMODE(status.st_mode) | _PASS)


def open_tree(tree: Path, account: Account | None) -> None:
    """Let the account read and run programs that were installed under a strict umask."""
    if account is None or tree.stat().st_mode & _READ:
        return
    for path in (tree, *tree.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | _READ | (_PASS if mode & stat.S_IXUSR else 0))


def _add_account() -> pwd.struct_passwd:
    command = shutil.which("useradd", path=os.environ.get("PATH", "") + ":" + _SYSTEM_PATH)
    words = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME]
    if command:
        subprocess.run([command, *words], check=False, capture_output=True)  # noqa: S603 - our words
    try:
        return pwd.getpwnam(NAME)  # another process may have been faster
    except KeyError:
        raise StackError(
            f"PostgreSQL does not run as root, and the account {NAME!r} could not be made; "
            f"run `useradd --system {NAME}`, or fakesweep as an ordinary user"
        ) from None
