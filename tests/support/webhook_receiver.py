"""A real webhook receiver: checks each signature, and answers by the test."""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from standardwebhooks import Webhook

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiBmYWtlc3dlZXA="
NETWORK = "127.0.0.1/32"


@dataclass(frozen=True)
class Told:
    """A request with a valid signature."""

    message_id: str
    path: str
    headers: Mapping[str, str]
    raw: bytes
    said: Mapping[str, Any]

    @property
    def verdict(self) -> Mapping[str, Any]:
        """The payload about an image."""
        found: Mapping[str, Any] = self.said["data"]
        return found


@dataclass(frozen=True)
class Reply:
    """An answer; one that hangs sends nothing until the receiver closes."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    hangs: bool = False


class Receiver:
    """Answers with `answer(told)`; `told` holds every request with a valid signature.

    `ids_taken` are the ids of requests answered with 2xx.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self.told: list[Told] = []
        self.ids_taken: list[str] = []
        self.connections = 0
        self.closing = threading.Event()
        self.answer: Callable[[Told], Reply] = lambda _: Reply()

    def always(self, reply: Reply) -> None:
        self.answer = lambda _: reply

    def in_turn(self, *replies: Reply) -> None:
        """Send each answer once, then repeat the last."""
        left = list(replies)
        self.answer = lambda _: left.pop(0) if len(left) > 1 else left[0]

    @property
    def ids(self) -> list[str]:
        return [one.message_id for one in self.told]


@contextmanager
def webhook_receiver(secret: str = SECRET) -> Iterator[Receiver]:
    """Yield a receiver with this secret on a free local port."""

    class Conversation(_Conversation):
        verifier = Webhook(secret)

    with _Listener(("127.0.0.1", 0), Conversation) as listener:
        Conversation.receiver = Receiver(listener.server_port)
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Conversation.receiver
        finally:
            Conversation.receiver.closing.set()
            listener.shutdown()
            thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # tests kill senders
            super().handle_error(request, client_address)


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: ClassVar[Receiver]
    verifier: ClassVar[Webhook]

    def setup(self) -> None:
        super().setup()
        self.receiver.connections += 1

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        raw = self.rfile.read(length)
        if len(raw) < length:  # its sender was killed
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.verifier.verify(raw, headers)
        told = Told(headers["webhook-id"], self.path, headers, raw, json.loads(raw))
        self.receiver.told.append(told)
        reply = self.receiver.answer(told)
        if reply.hangs:
            self.receiver.closing.wait()
            self.close_connection = True
            return
        if 200 <= reply.status < 300:
            self.receiver.ids_taken.append(told.message_id)
        with suppress(OSError):
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *_: object) -> None:
        pass
