"""The listening socket of the API, and the limit of open files."""

import errno
import os
import resource
import socket
import time
from pathlib import Path
from typing import Any

import structlog

from fakesweep.schema.errors import SettingsError
from fakesweep.serving.connections import MOST_CONNECTIONS, Connections

BACKLOG = 2_048
MOST_AT_A_TIME = 64
"""Connections accepted in one pass of the event loop."""

OTHER_FILES = 96
"""Open files for the ledger, the broker, pictures and other uses besides connections."""

FEWEST_CONNECTIONS = 8
LOG_SECONDS = 60.0

_OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_CURE = "raise the limit of open files (ulimit -n, or LimitNOFILE= of systemd)"

log = structlog.get_logger(__name__)


def most_connections() -> int:
    """Raise the limit of open files, and return the number of connections that fit.

    Logs where that is less than the bound.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    open_now = len(list(Path("/proc/self/fd").iterdir()))
    left = hard - open_now - OTHER_FILES - MOST_AT_A_TIME
    if left < MOST_CONNECTIONS:
        left = max(FEWEST_CONNECTIONS, left)
        log.warning("few_open_files", limit=hard, connections=left, cure=_CURE)
    return min(MOST_CONNECTIONS, left)


class Listening(socket.socket):
    """A listening socket that stays calm when the process is out of open files.

    asyncio alone would retry thousands of times, each with a traceback.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.table: Connections | None = None
        self._ahead = 0
        self._logged_at = float("-inf")
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection.

        Raises:
            BlockingIOError: none waits, or enough were accepted in this pass.
        """
        if self._ahead >= MOST_AT_A_TIME:
            self._ahead = 0
            raise BlockingIOError(errno.EAGAIN, "enough for now")
        try:
            accepted = super().accept()
        except BlockingIOError:
            self._ahead = 0
            raise
        except OSError as error:
            if error.errno not in _OUT_OF_FILES:
                raise
            self._ahead = 0
            self._do_without(error)
            raise BlockingIOError(errno.EAGAIN, "no file is left") from error
        self._ahead += 1
        return accepted

    def close(self) -> None:
        """Close the socket and its reserve file."""
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        super().close()

    def _do_without(self, error: OSError) -> None:
        """Close a connection that can be spared, or else the one that waits."""
        if time.monotonic() - self._logged_at >= LOG_SECONDS:
            self._logged_at = time.monotonic()
            log.warning("out_of_open_files", reason=error.strerror, cure=_CURE)
        if self.table is not None and self.table.make_room():
            return
        if self._spare < 0:
            return
        os.close(self._spare)
        try:
            super().accept()[0].close()
        except OSError:
            pass
        finally:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def listen(host: str, port: int) -> Listening:
    """Return a listening socket; port 0 takes any free one.

    Raises:
        SettingsError: the address cannot be listened at.
    """
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listening = Listening(family=family, type=socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"the API cannot listen at {host} port {port}: {error.strerror or error}; "
            f"choose others with --host and --port"
        ) from error
    return listening
