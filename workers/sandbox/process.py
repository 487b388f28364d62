"""Loader process: fetches, hashes, decodes and resizes untrusted bytes, which stay in it.

It answers its worker's JSON requests over a socket, one at a time, and writes pixels to a shared
memory file. It imports neither torch nor the database.
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
from fakesweep.workers.sandbox.losses import POSITION
from fakesweep.workers.sandbox.preprocess import Preprocessing
from fakesweep.workers.sandbox.readers.reasons import reason

if TYPE_CHECKING:
    from fakesweep.schema.settings import Settings

Reply = dict[str, Any]

KEPT_BYTES = 256 * 1024**2
"""Freed memory that a loader keeps between images."""

FACTS = ("width", "height", "format", "frame_count", "read_as")
"""Facts of a decoded content; `workers/sandbox/facts.py` has their types."""

GATHERED_SECONDS = 0.25
"""Longest wait of a reply for others in its group."""

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve the worker until it closes its end of the socket."""
    position_fd, socket_fd, pixels_fd, owner, niceness = (int(word) for word in sys.argv[1:6])
    _die_with(owner)
    _silence_libraries()
    connection = Connection(socket_fd)
    settings: Settings = connection.recv()  # a plain namespace; pydantic is slow to import
    _limit_memory(settings.loader_memory_bytes)
    os.nice(niceness)
    with open_fetcher(settings) as fetcher:
        fetches = SideBySide(
            fetcher.fetch, settings.fetch_concurrency, settings.fetch_deadline_seconds
        )
        loader = Loader(settings, fetches, pixels_fd, position_fd)
        connection.send_bytes(b"[]")
        while (request := _received(connection)) is not None:
            for replies in gathered(loader.replies(request)):
                if not _is_sent(connection, replies):
                    return


def _received(connection: "Connection[Any, Any]") -> dict[str, Any] | None:
    """Return the worker's next request, None once the worker is gone."""
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
    """Request handler of a loader process; holds the bytes of the current chunk."""

    def __init__(
        self, settings: "Settings", fetches: SideBySide, pixels_fd: int, position_fd: int
    ) -> None:
        self._settings = settings
        self._fetches = fetches
        self._pixels_fd = pixels_fd
        self._position_fd = position_fd
        self._bodies: dict[int, bytes] = {}
        self._held_bytes = 0

    def replies(self, request: dict[str, Any]) -> Iterator[Reply]:
        """Yield a reply for each image of a request, failed or not."""
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
        """Fetch images concurrently, as many as fit into the loader; postpone the rest."""
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
        """Decode images whose pixels fit into the loader; postpone the rest."""
        variants = [None if step is None else Preprocessing.from_json(step) for step in steps]
        if os.fstat(self._pixels_fd).st_size > KEPT_BYTES:
            os.ftruncate(self._pixels_fd, 0)
        end = 0
        for number in numbers:
            if end > self._settings.loader_memory_bytes / 4:
                yield {"number": number, "postponed": True}
                continue
            limit_processor_time(self._settings.decode_timeout_seconds)
            os.pwrite(self._position_fd, POSITION.pack(number), 0)
            try:
                reply, end = self._decode_one(self._bodies.pop(number), variants, end)
                yield {"number": number, **reply}
            except ImageFailure as failure:
                yield _failed(number, failure)
            except (MemoryError, OSError):
                told = "it needs more memory than a loader has (FAKESWEEP_LOADER_MEMORY_BYTES)"
                yield _failed(number, TooManyPixels(told))
            except Exception as error:  # noqa: BLE001 - one image never fails its batch
                yield _failed(number, CorruptImage(f"it cannot be decoded: {reason(error)}"))

    def _needed_side(self, variants: Sequence[Preprocessing | None]) -> int | None:
        """Return the pixels that each side needs for all models; None for full size."""
        if self._settings.decode == "exact":
            return None
        sides = [None if variant is None else variant.needed_side for variant in variants]
        known = [side for side in sides if side is not None]
        return max(known) if len(known) == len(sides) else None

    def _decode_one(
        self, body: bytes, variants: Sequence[Preprocessing | None], end: int
    ) -> tuple[Reply, int]:
        image = decode(body, self._settings.max_image_pixels, self._needed_side(variants))
        places = []
        try:
            for variant in variants:
                pixels = (
                    np.asarray(image.pixels) if variant is None else variant.prepare(image.pixels)
                )
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
    """Yield replies in groups, to wake the worker less often."""
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
    """Let the system end this process after `seconds` more of processor time.

    The system counts from the process's start, so each piece of work sets a new limit.
    """
    soft = math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}"


def _failed(number: int, failure: ImageFailure) -> Reply:
    return {"number": number, "failure": failure.code.value, "message": str(failure)}


def _limit_memory(loader_memory_bytes: int) -> None:
    Image.init()  # load all readers before memory is limited
    resource.setrlimit(resource.RLIMIT_AS, (loader_memory_bytes, loader_memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (loader_memory_bytes, loader_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    keep_freed_memory(min(KEPT_BYTES, loader_memory_bytes // 4))
    with suppress(OSError):  # the kernel's out-of-memory killer takes a loader first
        Path("/proc/self/oom_score_adj").write_text("1000")


def _silence_libraries() -> None:
    """Keep decoders' warnings, which quote untrusted bytes, out of the worker's log.

    C decoders write to descriptor 2, which is silenced; `sys.stderr` keeps the original target.
    """
    logging.disable()
    warnings.simplefilter("ignore")
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)
    os.close(silent)


def _die_with(owner: int) -> None:
    """Have the system kill this process when its owner dies, even during an image."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner handles Ctrl-C
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an oversized file raises an error instead
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:
        sys.exit(0)


if __name__ == "__main__":
    main()
