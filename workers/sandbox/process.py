"""A loader process: untrusted bytes are fetched, hashed, decoded and resized in here, and stay.

It speaks JSON over a socket with the worker that owns it, one request at a time, and leaves
pixels in a memory file they share. Neither torch nor the database is loaded here.
"""

import ctypes
import hashlib
import json
import logging
import math
import os
import resource
import signal
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fakesweep.schema.failures import CorruptImage, ImageFailure, TooManyPixels
from fakesweep.workers.error_text import one_line
from fakesweep.workers.fetch import open_fetcher
from fakesweep.workers.fetch.side_by_side import Found, SideBySide
from fakesweep.workers.sandbox.allocator import keep_freed_memory, write_whole
from fakesweep.workers.sandbox.decode import decode
from fakesweep.workers.sandbox.losses import PLACE
from fakesweep.workers.sandbox.preprocess import Preprocessing
from fakesweep.workers.sandbox.readers.reasons import reason

if TYPE_CHECKING:
    from fakesweep.schema.settings import Settings

Reply = dict[str, Any]

KEPT_BYTES = 256 * 1024**2
"""Memory that a loader keeps at hand between images."""

FACTS = ("width", "height", "format", "frame_count", "read_as")
"""What it says of a decoded content; `workers/sandbox/facts.py` has their types."""

GATHERED_SECONDS = 0.25
"""How long an answer may wait for others to travel with it."""

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve the worker at the other end of the socket until it closes its end."""
    place_fd, socket_fd, pixels_fd, owner, niceness = (int(word) for word in sys.argv[1:6])
    _die_with(owner)
    _silence_libraries()
    connection = Connection(socket_fd)
    settings: Settings = connection.recv()  # those that it was told; pydantic takes long to load
    _limit_memory(settings.loader_memory_bytes)
    os.nice(niceness)
    with open_fetcher(settings) as fetcher:
        fetches = SideBySide(
            fetcher.fetch, settings.fetch_concurrency, settings.fetch_deadline_seconds
        )
        loader = Loader(settings, fetches, pixels_fd, place_fd)
        connection.send_bytes(b"[]")
        while (request := _received(connection)) is not None:
            for replies in gathered(loader.replies(request)):
                if not _is_sent(connection, replies):
                    return


def _received(connection: "Connection[Any, Any]") -> dict[str, Any] | None:
    """Return the worker's next request, None once it has gone, whatever it left unread."""
    try:
        request: dict[str, Any] = json.loads(connection.recv_bytes())
    except (EOFError, ConnectionError):
        return None
    return request


def _is_sent(connection: "Connection[Any, Any]", replies: Sequence[Reply]) -> bool:
    try:
        connection.send_bytes(json.dumps(replies).encode())
    except ConnectionError:
        return False
    return True


class Loader:
    """What a loader process holds: the bytes of the chunk of images it works on."""

    def __init__(
        self, settings: "Settings", fetches: SideBySide, pixels_fd: int, place_fd: int
    ) -> None:
        self._settings = settings
        self._fetches = fetches
        self._pixels_fd = pixels_fd
        self._place_fd = place_fd
        self._bodies: dict[int, bytes] = {}
        self._held_bytes = 0

    def replies(self, request: dict[str, Any]) -> Iterator[Reply]:
        """Yield a reply for each image of a request, whatever becomes of it."""
        match request:
            case {"fetch": uris, **more}:
                os.environ.update(more.get("environment", {}))
                limit_processor_time(self._settings.fetch_deadline_seconds)
                yield from self._fetch(uris)
            case {"handed_over": size_bytes}:
                self._bodies.clear()
                yield self._fetched(0, os.pread(self._pixels_fd, size_bytes, 0))
            case {"decode": numbers, "steps": steps}:
                yield from self._decode(numbers, steps)

    def _fetch(self, uris: Sequence[str]) -> Iterator[Reply]:
        """Fetch images at once, but no more of them than the loader can hold."""
        self._bodies.clear()
        self._held_bytes = 0
        left = deque(enumerate(uris))
        while left or not self._fetches.is_idle:
            while left and not self._fetches.is_full and self._has_room():
                self._fetches.start(*left.popleft())
            if self._fetches.is_idle:
                yield from ({"number": number, "postponed": True} for number, _ in left)
                return
            yield self._fetched(*self._fetches.next_found())

    def _has_room(self) -> bool:
        return self._held_bytes < self._settings.loader_memory_bytes / 4

    def _fetched(self, number: int, fetched: Found) -> Reply:
        if isinstance(fetched, ImageFailure):
            return _failed(number, fetched) | {"left_alone": self._fetches.left_alone}
        self._bodies[number] = fetched
        self._held_bytes += len(fetched)
        digest = hashlib.sha256(fetched).hexdigest()
        return {"number": number, "sha256": digest, "size_bytes": len(fetched)}

    def _decode(self, numbers: Sequence[int], steps: Sequence[Any]) -> Iterator[Reply]:
        """Decode images, but no more of them than the loader can hold the pixels of."""
        ways = [None if step is None else Preprocessing.from_json(step) for step in steps]
        if os.fstat(self._pixels_fd).st_size > KEPT_BYTES:
            os.ftruncate(self._pixels_fd, 0)
        end = 0
        for number in numbers:
            if end > self._settings.loader_memory_bytes / 4:
                yield {"number": number, "postponed": True}
                continue
            limit_processor_time(self._settings.decode_timeout_seconds)
            os.pwrite(self._place_fd, PLACE.pack(number), 0)
            try:
                reply, end = self._decode_one(self._bodies.pop(number), ways, end)
                yield {"number": number, **reply}
            except ImageFailure as failure:
                yield _failed(number, failure)
            except (MemoryError, OSError):
                told = "it needs more memory than a loader has (FAKESWEEP_LOADER_MEMORY_BYTES)"
                yield _failed(number, TooManyPixels(told))
            except Exception as error:  # noqa: BLE001 - one image never fails its batch
                yield _failed(number, CorruptImage(f"it cannot be decoded: {reason(error)}"))

    def _needed_side(self, ways: Sequence[Preprocessing | None]) -> int | None:
        """Return how many pixels a side needs, for all models; None where each one counts."""
        if self._settings.decode == "exact":
            return None
        sides = [None if way is None else way.needed_side for way in ways]
        known = [side for side in sides if side is not None]
        return max(known) if len(known) == len(sides) else None

    def _decode_one(
        self, body: bytes, ways: Sequence[Preprocessing | None], end: int
    ) -> tuple[Reply, int]:
        image = decode(body, self._settings.max_image_pixels, self._needed_side(ways))
        places = []
        try:
            for way in ways:
                pixels = np.asarray(image.pixels) if way is None else way.prepare(image.pixels)
                flat = np.ascontiguousarray(pixels).reshape(-1).data
                write_whole(self._pixels_fd, flat, end)
                places.append({"offset": end, "shape": pixels.shape})
                end += pixels.nbytes
        except (MemoryError, OSError) as error:
            raise TooManyPixels(
                f"{image.format} of {image.width} x {image.height} pixels needs more memory to be "
                f"sized for the model than a loader has (FAKESWEEP_LOADER_MEMORY_BYTES)"
            ) from error
        known = {name: getattr(image, name) for name in FACTS}
        return {"content": known, "pixels": places}, end


def gathered(replies: Iterator[Reply]) -> Iterator[list[Reply]]:
    """Yield replies in groups, so that not each of them wakes the worker."""
    group: list[Reply] = []
    sent = time.monotonic()
    for reply in replies:
        group.append(reply)
        if time.monotonic() - sent > GATHERED_SECONDS:
            yield group
            group, sent = [], time.monotonic()
    if group:
        yield group


def limit_processor_time(seconds: float) -> None:
    """Let the system end this process once it has used so much more processor time.

    The limit counts from the process's start, so it is set anew for each piece of work: a system
    call that takes a microsecond.
    """
    soft = math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}"


def _failed(number: int, failure: ImageFailure) -> Reply:
    return {"number": number, "failure": failure.code.value, "message": str(failure)}


def _limit_memory(loader_memory_bytes: int) -> None:
    Image.init()  # readers that load late would fail late
    resource.setrlimit(resource.RLIMIT_AS, (loader_memory_bytes, loader_memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (loader_memory_bytes, loader_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    keep_freed_memory(min(KEPT_BYTES, loader_memory_bytes // 4))
    with suppress(OSError):  # where a machine runs out of memory, a loader goes first
        Path("/proc/self/oom_score_adj").write_text("1000")


def _silence_libraries() -> None:
    """Keep warnings about strangers' bytes, and their very words, out of the worker's log.

    Decoders in C write to the descriptor 2; a loader's own last words still go to where it led.
    """
    logging.disable()
    warnings.simplefilter("ignore")
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)
    os.close(silent)


def _die_with(owner: int) -> None:
    """Have the system kill this process when its owner is gone, also in the midst of an image."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's business
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file too large is an error, not the end
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:
        sys.exit(0)


if __name__ == "__main__":
    main()
