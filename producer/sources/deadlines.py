"""Connections that are cut when time is up, whatever the other side sends or does not send."""

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
"""A thousand keys of a thousand bytes, encoded and with all that is said of them, are a tenth."""


_CURRENT: ContextVar["TimedConnections | None"] = ContextVar("connections", default=None)


class TimeIsUp(HTTPError):  # noqa: N818 - says what happened
    """A connection came about after its time; no attempt will help."""


class TimedConnections:
    """The newest connections of one client, all of which can be cut from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: deque[socket.socket] = deque()
        self._is_cut = False

    def watch(self, connection: socket.socket) -> None:
        """Take a connection that was just made.

        Raises:
            TimeIsUp: it comes too late.
        """
        with self._lock:
            if self._is_cut:
                connection.close()
                raise TimeIsUp("time is up")
            # TLS will take the socket over, and a client closes it while an answer is read.
            self._watched.append(socket.socket(fileno=os.dup(connection.fileno())))
            if len(self._watched) > MOST_WATCHED:
                self._watched.popleft().close()

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Cut every connection, for good, when so many seconds have passed in the context."""
        timer = threading.Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @property
    def is_cut(self) -> bool:
        """Whether time is up."""
        return self._is_cut

    def close(self) -> None:
        """Let go of all connections, so that they end when their client closes them."""
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
    """Cut what is opened in the context, by this thread, when so many seconds have passed."""
    with closing(TimedConnections()) as connections, connections.limited(seconds):
        token = _CURRENT.set(connections)
        try:
            yield connections
        finally:
            _CURRENT.reset(token)


def connections_here() -> TimedConnections:
    """Return the connections of the context that this thread is in, or new ones without limit."""
    return _CURRENT.get() or TimedConnections()


def watch_client(client: Any, connections: TimedConnections) -> None:
    """Watch the connections that a client of boto3 will make, and bound what it reads of answers.

    Bodies of objects are not bounded here.
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

    # Botocore has no way of its own to be given connections.
    pools = client._endpoint.http_session._pool_classes_by_scheme  # noqa: SLF001
    pools.update({"http": Pool, "https": TlsPool})


def _watched(connection: socket.socket, connections: TimedConnections) -> socket.socket:
    connections.watch(connection)
    return connection


def _bounded(response: Any) -> Any:
    """Bound an answer that botocore reads whole."""
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
