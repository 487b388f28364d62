"""Start and stop of the stack's PostgreSQL, which listens on a private unix socket only."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg2
from sqlalchemy.engine import URL

from fakesweep.schema.errors import StackError
from fakesweep.stack import cluster, processes
from fakesweep.stack.accounts import Account
from fakesweep.stack.uses import Use

NAME = "PostgreSQL"
DATABASE = "fakesweep"

_START_SECONDS = 60.0
_OLD_PROCESSES_SECONDS = 15.0
_RETRY_SECONDS = 0.1
_STOP_SECONDS = 60.0
_QUIT_SECONDS = 10.0
_CONNECT_SECONDS = 5
_USER = "postgres"


def running_url(home: Path) -> str | None:
    """Return the database's URL, None if it does not answer."""
    return url(home, DATABASE) if _answers(home, DATABASE) else None


def lives(home: Path) -> bool:
    """Return whether the server's process is alive."""
    return _living_pid(home) is not None


def start(home: Path, account: Account | None, uses: Sequence[Use] = ()) -> str:
    """Create the cluster and database if needed, start the server, and return the URL.

    A socket folder that another user took is replaced, unless `uses` rely on it.

    Raises:
        StackError: the programs are missing, one failed, or the socket's folder is taken.
        OSError: a file or folder cannot be used.
    """
    if not _answers(home, "postgres"):
        cluster.open_programs(account)
        cluster.make_cluster(home, account)
        _start_server(home, account, uses)
    if not _answers(home, DATABASE):
        words = [f"--maintenance-db={url(home, 'postgres')}", DATABASE]
        cluster.run_program("createdb", words, account)
    return url(home, DATABASE)


def stop(home: Path) -> bool:
    """Stop the server, and return whether it ran. The database stays.

    Raises:
        StackError: the server does not stop.
        OSError: the server belongs to another user.
    """
    lock = cluster.read_lock(home)
    if lock is None:
        return False
    pid = lock.pid
    lived = _lives(home, pid)
    for sent, seconds in ((signal.SIGINT, _STOP_SECONDS), (signal.SIGQUIT, _QUIT_SECONDS)):
        if _lives(home, pid):
            processes.send(pid, sent)
            processes.wait_for(lambda: not _lives(home, pid), seconds)
    if _lives(home, pid):
        raise StackError(f"PostgreSQL (pid {pid}) does not stop; {_complaint(home)}")
    cluster.clear_socket(home, lock.socket_folder)
    return lived


def _start_server(home: Path, account: Account | None, uses: Sequence[Use]) -> None:
    """Start the server, with retries while processes of a killed one still use the cluster."""
    deadline = time.monotonic() + _OLD_PROCESSES_SECONDS
    while not _came_up(home, _living_pid(home) or _launch(home, account, uses)):
        said = _complaint(home)
        if "shared memory" not in said or time.monotonic() > deadline:
            raise StackError(f"PostgreSQL did not start; {said}")
        time.sleep(_RETRY_SECONDS)


def _came_up(home: Path, pid: int) -> bool:
    """Wait until the server answers or ends."""
    if not processes.wait_for(
        lambda: _answers(home, "postgres") or not _lives(home, pid), _START_SECONDS
    ):
        raise StackError(
            f"PostgreSQL (pid {pid}) still does not answer after {_START_SECONDS:g} s; try again, "
            f"or {_complaint(home)}"
        )
    return _answers(home, "postgres")


def _launch(home: Path, account: Account | None, uses: Sequence[Use]) -> int:
    cluster.clear_stale_lock(home)
    folder = str(cluster.socket_folder(home, account, uses)).replace('"', '""')
    options = {
        "listen_addresses": "",
        "port": cluster.PORT,
        "unix_socket_directories": f'"{folder}"',
        "unix_socket_permissions": "0700",
    }
    command = [str(cluster.programs() / "postgres"), "-D", str(cluster.cluster_folder(home))]
    command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return processes.launch(command, _log(home), account)


def _living_pid(home: Path) -> int | None:
    lock = cluster.read_lock(home)
    return lock.pid if lock and _lives(home, lock.pid) else None


def _lives(home: Path, pid: int) -> bool:
    folder = os.fsencode(cluster.cluster_folder(home))
    return processes.is_running(pid, b"/postgres\0-D\0" + folder + b"\0")


def _answers(home: Path, database: str) -> bool:
    lock = cluster.read_lock(home)
    if lock is None or not lock.ready:
        return False
    try:
        psycopg2.connect(
            host=str(lock.socket_folder),
            port=cluster.PORT,
            user=_USER,
            dbname=database,
            connect_timeout=_CONNECT_SECONDS,
        ).close()
    except psycopg2.OperationalError:
        return False
    return True


def url(home: Path, database: str) -> str:
    """Return the URL of a database of the running server.

    Raises:
        StackError: the server does not run.
    """
    lock = cluster.read_lock(home)
    if lock is None:
        raise StackError(f"PostgreSQL went away; {_complaint(home)}")
    where = {"host": str(lock.socket_folder)}
    url = URL.create("postgresql", _USER, port=cluster.PORT, database=database, query=where)
    return url.render_as_string(hide_password=False)


def _log(home: Path) -> Path:
    return home / "logs" / "postgres.log"


def _complaint(home: Path) -> str:
    return processes.complaint(_log(home))
