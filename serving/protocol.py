"""HTTP/1.1 on one connection: uvicorn's protocol with strict framing and deadlines."""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from fakesweep.serving.connections import Connections
from fakesweep.serving.framing import Framing, Malformed
from fakesweep.serving.problems import MEDIA_TYPE, Problem, ProblemCode

HEAD_SECONDS = 10.0
"""Deadline of a request line and headers, from the connection or their first byte."""

SEND_SECONDS = 10.0
SEND_BYTES_PER_SECOND = 16 * 1024
"""Rate at which a client must read: a second more for each such number of bytes."""

LEAVE_SECONDS = 5.0
"""Time for the client to read an answer that ends its connection."""

MOST_DROPPED = 16 * 1024 * 1024
MOST_DROPPED_OF_STRANGERS = 64 * 1024
"""Bytes that are read and dropped after the end, so the client can read the answer."""

_CODES = {
    HTTPStatus.REQUEST_TIMEOUT: ProblemCode.TOO_SLOW,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: ProblemCode.TOO_LARGE,
}


class _Outlet(asyncio.Transport):
    """A transport for uvicorn that lets the client read the answer before it closes."""

    def __init__(self, transport: asyncio.Transport, protocol: "GuardedProtocol") -> None:
        super().__init__()
        self._transport = transport
        self._protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._transport.write(data)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def is_closing(self) -> bool:
        return self._protocol.is_leaving or self._transport.is_closing()

    def close(self) -> None:
        self._protocol.leave()


class GuardedProtocol(H11Protocol):
    """A connection that answers one request at a time.

    A client that sends another request before the answer gets that answer, and is disconnected.
    Malformed framing is answered with 400, and the connection ends.
    """

    def __init__(self, table: Connections, **given: Any) -> None:
        super().__init__(**given)
        self.address = ""
        self.is_leaving = False
        self._table = table
        self._framing = Framing()
        self._answering = self.app
        self.app = self._asked
        self._raw: asyncio.Transport | None = None
        self.since = self.loop.time()
        self._unread_since: float | None = None
        self._unread_bytes = 0
        self._dropped_bytes = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress."""
        return not self._framing.is_begun

    @property
    def is_stranger(self) -> bool:
        """Whether the connection has shown no valid token yet."""
        return self._table.is_stranger(self)

    @property
    def is_request_whole(self) -> bool:
        """Whether the request in progress is complete, with no bytes after it."""
        return self._framing.is_whole and not self._framing.has_surplus

    def prove(self) -> None:
        """Record that a valid token was shown."""
        self._table.prove(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Add the connection, or close it where there is no place."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP always is
        self._raw = transport
        super().connection_made(_Outlet(transport, self))
        self.address = str(self.client[0]) if self.client else ""
        if not self._table.add(self):
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the place."""
        self._table.remove(self)
        self._raw = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand on the bytes of a request; drop those after its end."""
        if self.is_leaving or self._framing.has_surplus:
            self._drop(len(data))
            return
        self._unset_keepalive_if_required()
        if not self._framing.is_begun:
            self.since = self.loop.time()
        try:
            ready = self._framing.feed(data)
        except Malformed as error:
            self._refuse(error)
            return
        if ready:
            super().data_received(ready)
        if self._framing.has_surplus and self.cycle is not None:
            self.cycle.keep_alive = False
            self._drop(len(data) - len(ready))

    def on_response_complete(self) -> None:
        """Expect the next request, unless this one is incomplete."""
        if not self.is_request_whole:
            self.leave()
        self.since = self.loop.time()
        self._framing.next()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer 400 to a request that uvicorn's parser refuses."""
        self._refuse(Malformed(msg))

    def leave(self) -> None:
        """Send the rest, give the client time to read it, and close."""
        if self._raw is None or self.is_leaving:
            return
        self.is_leaving = True
        self.since = self.loop.time()
        self._unset_keepalive_if_required()
        if self._framing.is_begun and not self.is_request_whole and not self._raw.is_closing():
            # Closing with unread bytes would reset the connection and lose the answer.
            self._raw.resume_reading()
            self._raw.write_eof()
        else:
            self._raw.close()

    def end(self) -> None:
        """Close at once, without sending the rest."""
        self.is_leaving = True
        if self._raw is not None:
            self._raw.abort()

    def overdue(self, now: float) -> str | None:
        """Return the deadline that the connection has missed, if any."""
        if self._is_unread(now):
            return "an answer was not read"
        if self.is_leaving and self._unread_since is None and now - self.since > LEAVE_SECONDS:
            return "it was not closed"
        if self._framing.is_headed or self.is_leaving or now - self.since <= HEAD_SECONDS:
            return None
        return "no request came" if self.is_idle else "headers did not come to their end"

    def _drop(self, size_bytes: int) -> None:
        self._dropped_bytes += size_bytes
        most = MOST_DROPPED_OF_STRANGERS if self.is_stranger else MOST_DROPPED
        if self._raw is not None and self._dropped_bytes > most:
            self._raw.pause_reading()

    def _is_unread(self, now: float) -> bool:
        left = self._raw.get_write_buffer_size() if self._raw is not None else 0
        if not left:
            self._unread_since, self._unread_bytes = None, 0
            return False
        if self._unread_since is None:
            self._unread_since = now
        self._unread_bytes = max(left, self._unread_bytes)
        allowed = SEND_SECONDS + self._unread_bytes / SEND_BYTES_PER_SECOND
        return now - self._unread_since > allowed

    def _refuse(self, error: Malformed) -> None:
        """Answer a malformed request, unless an answer is in progress, and end the connection."""
        self._framing.has_surplus = True
        if self._raw is None:
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.leave()
                return
        code = _CODES.get(error.status, ProblemCode.MALFORMED)
        body = bytes(Problem(error.status, code, str(error)).answer().body)
        head = (
            f"HTTP/1.1 {error.status.value} {error.status.phrase}\r\nContent-Type: {MEDIA_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n"
            f"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        self._raw.write(head.encode("ascii") + body)
        self.leave()

    async def _asked(self, scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["connection"] = self
        await self._answering(scope, receive, send)
