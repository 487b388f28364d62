"""A real server that drips an endless answer to any request."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PAUSE_SECONDS = 0.02


class DrippingServer:
    """Sends `start` at once, then `drip` repeatedly."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.start = b"HTTP/1.1 200 OK\r\n"
        self.drip = b"X-Drip: 1\r\n"
        self.connections = 0


@contextmanager
def dripping_server() -> Iterator[DrippingServer]:
    """Yield a server on a free local port."""
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        told = DrippingServer(listener.getsockname()[1])

        def talk(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.recv(65_536)
                connection.sendall(told.start)
                while not closing.wait(PAUSE_SECONDS):
                    connection.sendall(told.drip)

        def accept() -> None:
            while not closing.is_set():
                with suppress(TimeoutError):
                    connection, _ = listener.accept()
                    told.connections += 1
                    threading.Thread(target=talk, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield told
        finally:
            closing.set()
            thread.join()
