"""Proxy process before the S3 server: adds latency, and faults on command.

Commands are lines of JSON on standard input; each gets a line in answer.
"""

import http.client
import json
import os
import random
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

PAGE_KEYS = 32
"""Small page size of listings, so that a producer can be killed between pages."""

STALL_SECONDS = 60.0
DRIP_SECONDS = 0.2
LISTS = "/lists/"
_NONSENSE = (
    (rb"<Size>\d+</Size>", b"<Size>9223372036854775808</Size>"),
    (rb"<LastModified>[^<]*</LastModified>", b"<LastModified>99999-99-99</LastModified>"),
    (rb"<ETag>[^<]*</ETag>", b"<ETag>" + b"e" * 9_000 + b"</ETag>"),
)
_KEPT_HEADERS = ("content-type", "etag", "last-modified", "accept-ranges", "content-range")
_REFUSALS = {
    "errors": (500, "InternalError", {}),
    "slow_down": (503, "SlowDown", {"Retry-After": "1"}),
}


@dataclass
class Told:
    """The proxy's last command, and its counts since then."""

    latency_seconds: float = 0.0
    fault: str = ""
    share: float = 0.0
    faulty: Counter[str] = field(default_factory=Counter)
    delivered: Counter[str] = field(default_factory=Counter)


class Conversation(BaseHTTPRequestHandler):
    """A client's connection, and the proxy's connection to the server."""

    protocol_version = "HTTP/1.1"
    told: ClassVar[Told] = Told()
    behind: ClassVar[str]

    def setup(self) -> None:
        super().setup()
        self.server_behind = http.client.HTTPConnection(self.behind, timeout=30)

    def finish(self) -> None:
        self.server_behind.close()
        with suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        told = self.told
        fault = told.fault if random.random() < told.share else ""
        if (fault == "drips" and LISTS not in self.path) or (
            fault in ("nonsense", "no_listing") and "list-type=" not in self.path
        ):
            fault = ""
        if fault:
            told.faulty[fault] += 1
        time.sleep(told.latency_seconds)
        if fault == "reset":
            self._reset()
        elif fault in _REFUSALS:
            self._refuse(*_REFUSALS[fault])
        else:
            with suppress(OSError):
                self._pass_on(fault)

    def _pass_on(self, fault: str) -> None:
        is_listing = "list-type=" in self.path
        path = re.sub(r"max-keys=\d+", f"max-keys={PAGE_KEYS}", self.path)
        self.server_behind.request("GET", path, headers={"Host": self.headers["Host"]})
        with self.server_behind.getresponse() as answer:
            body = answer.read()
        if fault in ("nonsense", "no_listing"):
            body, fault = _senseless(body, fault), ""
        self.send_response(answer.status)
        for name in _KEPT_HEADERS:
            if value := answer.headers.get(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "drips":
            for letter in body:
                self.wfile.write(bytes([letter]))
                self.wfile.flush()
                time.sleep(DRIP_SECONDS)
            self.close_connection = True
            return
        if fault:  # truncated or stalled
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            if fault == "stalled":
                self.wfile.flush()
                time.sleep(STALL_SECONDS)
            return
        self.wfile.write(body)
        if not is_listing and answer.status == http.HTTPStatus.OK:
            self.told.delivered[path.partition("?")[0]] += 1

    def _refuse(self, status: int, code: str, headers: dict[str, str]) -> None:
        body = f"<Error><Code>{code}</Code><Message>chaos</Message></Error>".encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/xml", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


def _senseless(listing: bytes, fault: str) -> bytes:
    if fault == "no_listing":
        return b"<ListBucketResult><Contents><Size>-1</Size></Contents>"
    for pattern, instead in _NONSENSE:
        listing = re.sub(pattern, instead, listing)
    return listing


class Listener(ThreadingHTTPServer):
    """Threaded server that ignores broken connections."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        pass


def main() -> None:
    """Serve on a local port until standard input closes."""
    Conversation.behind = sys.argv[1]
    with Listener(("127.0.0.1", 0), Conversation) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        _say({"port": listener.server_port})
        for line in sys.stdin:
            told, words = Conversation.told, json.loads(line)
            for name, value in words.items():
                setattr(told, name, value)
            _say({"faulty": dict(told.faulty), "delivered": dict(told.delivered)})
    os._exit(0)


def _say(words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
