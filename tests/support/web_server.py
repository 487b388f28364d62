"""A real HTTP server with answers by the test: refusals, stalls, broken connections."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


@dataclass(frozen=True)
class Answer:
    """An answer; its body may break off after `cut_to` bytes, or never end."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_to: int | None = None
    stalls: bool = False
    drips: bool = False


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]


class WebServer:
    """Answers with `answer(request)`; `requests` holds every request so far."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self.answer: Callable[[Request], Answer] = lambda _: Answer(404)

    def always(self, answer: Answer) -> None:
        self.answer = lambda _: answer

    def in_turn(self, *answers: Answer) -> None:
        """Send each answer once, then repeat the last."""
        left = list(answers)
        self.answer = lambda _: left.pop(0) if len(left) > 1 else left[0]


def s3_error(status: int, code: str, message: str = "because") -> Answer:
    """Return an error answer of S3."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(status, body.encode(), {"Content-Type": "application/xml"})


@contextmanager
def web_server() -> Iterator[WebServer]:
    """Yield a server on a free local port."""

    class Conversation(_Conversation):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Conversation) as listener:
        listener.daemon_threads = True
        Conversation.server_told = WebServer(listener.server_port)
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Conversation.server_told
        finally:
            Conversation.server_told.closing.set()
            listener.shutdown()
            thread.join()


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_told: ClassVar[WebServer]

    def do_GET(self) -> None:
        told = self.server_told
        request = Request(self.command, self.path, dict(self.headers))
        told.requests.append(request)
        answer = told.answer(request)
        with suppress(OSError):
            self._send(answer)
        if answer.stalls or answer.drips or answer.cut_to is not None:
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815 - the base class's names

    def _send(self, answer: Answer) -> None:
        told = self.server_told
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if not {"Content-Length", "Transfer-Encoding"} & answer.headers.keys():
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.drips:
            for letter in answer.body:
                if told.closing.wait(0.02):
                    return
                self.wfile.write(bytes([letter]))
        elif self.command != "HEAD":
            self.wfile.write(answer.body[: answer.cut_to])
        if answer.stalls:
            told.closing.wait()

    def log_message(self, *_: object) -> None:
        pass
