"""Deadlines for connections: all sockets of a client are shut down when time is up."""

import os
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from urllib3.exceptions import HTTPError

MOST_WATCHED = 64
MOST_ANSWER_BYTES = 64 * 1024 * 1024
"""Limit of an answer's size, ten times a page of a thousand keys of maximal length."""


_CURRENT: ContextVar["TimedConnections | None"] = ContextVar("connections", default=None)


class TimeIsUp(HTTPError):  # noqa: N818 - says what happened
    """The deadline passed before the connection was made; a retry is useless."""


class TimedConnections:
    """The newest connections of one client; another thread can shut them down."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: deque[socket.socket] = deque()
        self._is_cut = False

    def watch(self, connection: socket.socket) -> None:
        """Add a new connection.

        Raises:
            TimeIsUp: the deadline has passed.
        """
        with self._lock:
            if self._is_cut:
                connection.close()
                raise TimeIsUp("time is up")
            # A duplicate: TLS detaches the socket, and a client may close it during a read.
            self._watched.append(socket.socket(fileno=os.dup(connection.fileno())))
            if len(self._watched) > MOST_WATCHED:
                self._watched.popleft().close()

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Shut all connections down, permanently, after `seconds` in the context."""
        timer = threading.Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @property
    def is_cut(self) -> bool:
        """Whether the deadline has passed."""
        return self._is_cut

    def close(self) -> None:
        """Close the duplicates, so that connections end with their client."""
        with self._lock:
            while self._watched:
                self._watched.popleft().close()

    def _cut(self) -> None:
        with self._lock:
            self._is_cut = True
            for connection in self._watched:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def cut_after(seconds: float) -> Iterator[TimedConnections]:
    """Shut down connections that this thread opens in the context, after `seconds`."""
    with closing(TimedConnections()) as connections, connections.limited(seconds):
        token = _CURRENT.set(connections)
        try:
            yield connections
        finally:
            _CURRENT.reset(token)


def connections_here() -> TimedConnections:
    """Return the connections of this thread's context, or new ones without a deadline."""
    return _CURRENT.get() or TimedConnections()


def watch_client(client: Any, connections: TimedConnections) -> None:
    """Watch the connections of a boto3 client, and limit the size of its answers.

    Bodies of objects are not limited.
    """

    class Connection(AWSHTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _watched(super()._new_conn(), connections)

        def getresponse(self) -> Any:
            return _bounded(super().getresponse())

    class TlsConnection(AWSHTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _watched(super()._new_conn(), connections)

        def getresponse(self) -> Any:
            return _bounded(super().getresponse())

    class Pool(AWSHTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(AWSHTTPSConnectionPool):
        ConnectionCls = TlsConnection

    # Botocore has no public hook for connection classes.
    pools = client._endpoint.http_session._pool_classes_by_scheme  # noqa: SLF001
    pools.update({"http": Pool, "https": TlsPool})


def _watched(connection: socket.socket, connections: TimedConnections) -> socket.socket:
    connections.watch(connection)
    return connection


def _bounded(response: Any) -> Any:
    """Limit the size of an answer that botocore reads whole."""
    stream = response.stream

    def bounded(*arguments: Any, **words: Any) -> Iterator[bytes]:
        size_bytes = 0
        for piece in stream(*arguments, **words):
            size_bytes += len(piece)
            if size_bytes > MOST_ANSWER_BYTES:
                raise HTTPError(f"the answer has more than {MOST_ANSWER_BYTES} bytes")
            yield piece

    response.stream = bounded
    return response
