"""A loader process: untrusted bytes are fetched, hashed, decoded and resized in here, and stay.

It speaks JSON over a socket with the worker that owns it, one request at a time, and leaves
pixels in a memory file they share. Neither torch nor the database is loaded here.
"""

import ctypes
import hashlib
import json
import os
import resource
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from PIL import Image

from schema.failures import CorruptImage, ImageFailure, SourceUnavailable, TooManyPixels
from schema.settings import Settings
from workers.decode import decode
from workers.fetch import Fetcher, open_fetcher
from workers.models.preprocess import Preprocessing
from workers.wording import one_line

Reply = dict[str, Any]

_PR_SET_PDEATHSIG = 1
_FACTS = ("width", "height", "format", "frame_count")


def main() -> None:
    """Serve the worker at the other end of the socket until it closes its end."""
    socket_fd, pixels_fd, owner = (int(word) for word in sys.argv[1:4])
    _die_with(owner)
    connection = Connection(socket_fd)
    settings = Settings(**json.loads(connection.recv_bytes()))
    _limit_memory(settings.loader_memory_bytes)
    with (
        open_fetcher(settings) as fetcher,
        ThreadPoolExecutor(settings.fetch_concurrency, thread_name_prefix="fetch") as threads,
    ):
        loader = Loader(settings, fetcher, threads, pixels_fd)
        connection.send_bytes(b"{}")
        while True:
            try:
                request = json.loads(connection.recv_bytes())
            except EOFError:
                return
            for reply in loader.replies(request):
                connection.send_bytes(json.dumps(reply).encode())


class Loader:
    """What a loader process holds: the bytes of the chunk of images it works on."""

    def __init__(
        self, settings: Settings, fetcher: Fetcher, threads: ThreadPoolExecutor, pixels_fd: int
    ) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._threads = threads
        self._pixels_fd = pixels_fd
        self._bodies: dict[int, bytes] = {}

    def replies(self, request: dict[str, Any]) -> Iterator[Reply]:
        """Yield a reply for each image of a request, whatever becomes of it."""
        match request:
            case {"fetch": uris}:
                yield from self._fetch(uris)
            case {"decode": numbers, "steps": steps}:
                yield from self._decode(numbers, steps)

    def _fetch(self, uris: Sequence[str]) -> Iterator[Reply]:
        """Fetch images at once, but no more of them than the loader can hold."""
        self._bodies.clear()
        left = deque(enumerate(uris))
        running: dict[Future[bytes | ImageFailure], int] = {}
        while left or running:
            while left and len(running) < self._settings.fetch_concurrency and self._has_room():
                number, uri = left.popleft()
                running[self._threads.submit(self._fetch_one, uri)] = number
            if not running:
                yield from ({"number": number, "postponed": True} for number, _ in left)
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for one in done:
                yield self._fetched(running.pop(one), one.result())

    def _has_room(self) -> bool:
        return sum(map(len, self._bodies.values())) < self._settings.loader_memory_bytes / 4

    def _fetched(self, number: int, fetched: bytes | ImageFailure) -> Reply:
        if isinstance(fetched, ImageFailure):
            return _failed(number, fetched)
        self._bodies[number] = fetched
        digest = hashlib.sha256(fetched).hexdigest()
        return {"number": number, "sha256": digest, "size_bytes": len(fetched)}

    def _fetch_one(self, uri: str) -> bytes | ImageFailure:
        try:
            return self._fetcher.fetch(uri)
        except ImageFailure as failure:
            return failure
        except MemoryError:
            return SourceUnavailable("this loader has no memory left to fetch it into")
        except Exception as error:  # noqa: BLE001 - one image never fails its batch
            return SourceUnavailable(f"fetching raised {error!r}")

    def _decode(self, numbers: Sequence[int], steps: Sequence[Any]) -> Iterator[Reply]:
        ways = [None if step is None else Preprocessing.from_json(step) for step in steps]
        os.ftruncate(self._pixels_fd, 0)
        end = 0
        for number in numbers:
            try:
                reply, end = self._decode_one(self._bodies.pop(number), ways, end)
                yield {"number": number, **reply}
            except ImageFailure as failure:
                yield _failed(number, failure)
            except (MemoryError, OSError) as error:
                yield _failed(number, TooManyPixels(f"no memory for them: {one_line(error)}"))
            except Exception as error:  # noqa: BLE001 - one image never fails its batch
                yield _failed(number, CorruptImage(f"decoding raised {error!r}"))

    def _decode_one(
        self, body: bytes, ways: Sequence[Preprocessing | None], end: int
    ) -> tuple[Reply, int]:
        image = decode(body, self._settings.max_image_pixels)
        places = []
        for way in ways:
            pixels = np.asarray(image.pixels) if way is None else way.prepare(image.pixels)
            os.pwrite(self._pixels_fd, np.ascontiguousarray(pixels).data, end)
            places.append({"offset": end, "shape": pixels.shape})
            end += pixels.nbytes
        known = {
            name: getattr(image, name) for name in ("width", "height", "format", "frame_count")
        }
        return {"content": known, "pixels": places}, end


def _failed(number: int, failure: ImageFailure) -> Reply:
    return {"number": number, "failure": failure.code.value, "message": str(failure)}


def _limit_memory(loader_memory_bytes: int) -> None:
    Image.init()  # readers that load late would fail late
    resource.setrlimit(resource.RLIMIT_AS, (loader_memory_bytes, loader_memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (loader_memory_bytes, loader_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _die_with(owner: int) -> None:
    """Have the system kill this process when its owner is gone, also in the midst of an image."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's business
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file too large is an error, not the end
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:
        sys.exit(0)


if __name__ == "__main__":
    main()
