"""The loader processes of a worker: started, lent to one chunk of images at a time, replaced."""

import json
import os
import queue
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import structlog

from schema.settings import PREFIX, Settings
from workers.fetch.attempts import DEADLINE_STALLS

START_SECONDS = 60.0
FETCH_SLACK_SECONDS = 30.0

TOLD = {
    name
    for name in Settings.model_fields
    if name.startswith(("fetch_", "s3_", "max_image_", "loader_"))
}
"""The settings a loader is told: what it needs to fetch and decode, and no more."""

Reply = dict[str, Any]

log = structlog.get_logger(__name__)


class LoaderLost(Exception):  # noqa: N818 - says what happened
    """The loader died, or did not answer in time; the message says which."""


class Loader:
    """One loader process, as its owner sees it; used by one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pixels_fd = os.memfd_create("fakesweep-pixels")
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, and numbers
                [
                    sys.executable, "-P", "-m", "workers.loader",
                    str(theirs.fileno()), str(self._pixels_fd), str(os.getpid()),
                ],
                pass_fds=(theirs.fileno(), self._pixels_fd),
                stdin=subprocess.DEVNULL,
                env=_without_secrets(),
            )  # fmt: skip
        self._connection = Connection(ours.detach())
        told = settings.model_dump(mode="json", include=TOLD)
        self._connection.send_bytes(json.dumps(told).encode())
        self._is_ready = False

    def fetch(self, uris: Sequence[str]) -> Iterator[Reply]:
        """Fetch a chunk of images; yield a reply for each as it comes.

        Raises:
            LoaderLost: the process died, or did not answer in time.
        """
        longest = DEADLINE_STALLS * self._settings.fetch_timeout_seconds + FETCH_SLACK_SECONDS
        yield from self._ask({"fetch": list(uris)}, len(uris), longest)

    def decode(self, numbers: Sequence[int], steps: Sequence[Any]) -> Iterator[Reply]:
        """Decode and prepare images of the fetched chunk; yield a reply for each, in order.

        Raises:
            LoaderLost: the process died, or took too long over one image.
        """
        request = {"decode": list(numbers), "steps": list(steps)}
        yield from self._ask(request, len(numbers), self._settings.decode_timeout_seconds)

    def pixels(self, offset: int, size_bytes: int) -> bytes:
        """Return pixels that a reply to `decode` spoke of; they last until the next request."""
        return os.pread(self._pixels_fd, size_bytes, offset)

    def close(self) -> None:
        """End the process, at once."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        os.close(self._pixels_fd)

    def _ask(self, request: Mapping[str, Any], replies: int, seconds: float) -> Iterator[Reply]:
        """Yield the replies to a request, each within so many seconds of the one before."""
        try:
            if not self._is_ready:
                self._receive(START_SECONDS)
                self._is_ready = True
            self._connection.send_bytes(json.dumps(request).encode())
            for _ in range(replies):
                yield self._receive(seconds)
        except (EOFError, OSError) as error:
            raise LoaderLost(self._last_words()) from error

    def _receive(self, seconds: float) -> Reply:
        if not self._connection.poll(seconds):
            raise LoaderLost(f"the loader did not answer within {seconds:g} s")
        reply: Reply = json.loads(self._connection.recv_bytes())
        return reply

    def _last_words(self) -> str:
        self._process.kill()
        status = self._process.wait()
        return f"the loader ended with {f'signal {-status}' if status < 0 else f'status {status}'}"


class Loaders:
    """As many loaders as batches are in flight, so that a chunk never waits for one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._idle: queue.LifoQueue[Loader] = queue.LifoQueue()
        for _ in range(settings.batches_in_flight):
            self._idle.put(Loader(settings))

    @contextmanager
    def one(self) -> Iterator[Loader]:
        """Lend a loader to this thread; one that is lost meanwhile is replaced."""
        loader = self._idle.get()
        try:
            yield loader
        except BaseException:
            # Whatever broke off, the loader may be in the midst of an answer: a fresh one is safe.
            loader.close()
            loader = Loader(self._settings)
            raise
        finally:
            self._idle.put(loader)

    def close(self) -> None:
        """End every loader; call it when no thread uses one any more."""
        while not self._idle.empty():
            self._idle.get().close()


@contextmanager
def open_loaders(settings: Settings) -> Iterator[Loaders]:
    """Start the loader processes, and end them with the context."""
    loaders = Loaders(settings)
    try:
        yield loaders
    finally:
        loaders.close()


def _without_secrets() -> dict[str, str]:
    """Return our environment without what only the worker itself may know."""
    hidden = {f"{PREFIX}DATABASE_URL", f"{PREFIX}BROKER_URL"}
    return {name: value for name, value in os.environ.items() if name not in hidden}
