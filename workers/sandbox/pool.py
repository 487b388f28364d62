"""Loader processes of a worker: started, lent to one chunk at a time, and replaced."""

import json
import math
import os
import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import structlog

from fakesweep.schema.errors import LoadersError
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import scheme_of
from fakesweep.schema.words import Lane
from fakesweep.workers.sandbox.allocator import write_whole
from fakesweep.workers.sandbox.environment import first_environment, s3_environment
from fakesweep.workers.sandbox.losses import POSITION, Cause, LoaderLost, cause_of_end
from fakesweep.workers.sandbox.preprocess import Pixels

NICENESS = 10
"""Niceness of bulk loaders; the device's thread and live loaders run first."""

START_SECONDS = 60.0
START_ATTEMPTS = 3
FETCH_SLACK_SECONDS = 30.0
END_SECONDS = 5.0
LAST_WORDS_SECONDS = 1.0

BUSY_SHARE = 0.1
"""Share of a processor above which an unresponsive loader counts as busy."""

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

WALL_TIMES = 2
"""Wall-clock limit of a decode, as a multiple of its processor time: two loaders share a core."""

MAX_ANSWER_BYTES = 16 * 1024**2
"""Limit of an answer; a chunk's answer has kilobytes, and only a compromised loader sends more."""

TOLD = {
    name
    for name in Settings.model_fields
    if name.startswith(("fetch_", "s3_", "max_image_", "loader_", "decode"))
} | {"allow_networks", "file_roots", "buckets"}
"""Settings sent to a loader: those that fetching and decoding need."""

Reply = dict[str, Any]

log = structlog.get_logger(__name__)


class _EndedEarlyError(LoadersError):
    """The loader ended before it was ready; no image is to blame, and another may start."""


class LoaderHandle:
    """Handle of one loader process; used by one thread at a time."""

    def __init__(self, settings: Settings, niceness: int = NICENESS) -> None:
        self._settings = settings
        self._is_ready = False
        self._knows_s3 = False
        self._left_alone = 0
        self._pixels_fd = os.memfd_create("fakesweep-pixels")
        self._position_fd = os.memfd_create("fakesweep-position")
        ours, theirs = socket.socketpair()
        self._connection = Connection(ours.detach())
        try:
            with theirs:
                descriptors = (self._position_fd, theirs.fileno(), self._pixels_fd)
                self._process = _start(descriptors, niceness)
        except OSError as error:
            self._close_descriptors()
            raise LoadersError(f"no loader process can be started: {error}") from error
        told = SimpleNamespace(**{name: getattr(settings, name) for name in sorted(TOLD)})
        with suppress(OSError):  # `wait_until_ready` reports an early end
            self._connection.send(told)

    @property
    def has_ended(self) -> bool:
        """Whether the idle process has died."""
        return self._process.poll() is not None

    @property
    def is_worn(self) -> bool:
        """Whether it has abandoned fetch threads, which may be blocked for ever."""
        return self._left_alone > 0

    def fetch(self, uris: Sequence[str]) -> Iterator[Reply]:
        """Fetch a chunk of images; yield a reply for each, in any order.

        Raises:
            LoaderLost: the process died, or did not answer in time.
        """
        longest = self._settings.fetch_deadline_seconds + FETCH_SLACK_SECONDS
        request: dict[str, Any] = {"fetch": list(uris)}
        if not self._knows_s3 and any(scheme_of(uri) == "s3" for uri in uris):
            request["environment"] = s3_environment()
            self._knows_s3 = True
        for reply in self._ask(request, len(uris), longest):
            self._left_alone = max(self._left_alone, reply.get("left_alone", 0))
            yield reply

    def hand_over(self, body: bytes) -> Reply:
        """Send an image's bytes as a chunk of one; return the reply that `fetch` would yield.

        Raises:
            LoaderLost: the process died, or did not answer in time.
        """
        os.ftruncate(self._pixels_fd, 0)
        write_whole(self._pixels_fd, memoryview(body), 0)
        (reply,) = self._ask({"handed_over": len(body)}, 1, FETCH_SLACK_SECONDS)
        return reply

    def decode(
        self, numbers: Sequence[int], steps: Sequence[Any]
    ) -> Iterator[tuple[Reply, list[Pixels]]]:
        """Decode and preprocess images of the fetched chunk; yield each reply and its pixels.

        The pixels are uint8 [height, width, 3], one array for each of `steps`.

        Raises:
            LoaderLost: the process died or exceeded an image's time limit; `number` is that image.
                Earlier replies have been yielded.
        """
        left = list(numbers)
        while left:
            request = {"decode": left, "steps": list(steps)}
            longest = WALL_TIMES * self._settings.decode_timeout_seconds
            replies: list[Reply] = []
            try:
                try:
                    for reply in self._ask(request, len(left), longest):
                        replies.append(reply)  # noqa: PERF402 - kept if the next one is lost
                finally:
                    yield from self._with_pixels(replies)
            except LoaderLost as lost:
                answered = {reply["number"] for reply in replies}
                lost.number = self._position_among([one for one in left if one not in answered])
                raise
            left = [reply["number"] for reply in replies if "postponed" in reply]

    def _with_pixels(self, replies: Sequence[Reply]) -> Iterator[tuple[Reply, list[Pixels]]]:
        places = [place for reply in replies for place in reply.get("pixels", ())]
        memory = self._read(sum(math.prod(place["shape"]) for place in places))
        for reply in replies:
            if "postponed" not in reply:
                yield reply, [_view(memory, place) for place in reply.get("pixels", ())]

    def _position_among(self, numbers: Sequence[int]) -> int | None:
        """Return the image among these that the process last recorded as its position."""
        noted = os.pread(self._position_fd, POSITION.size, 0)
        number = POSITION.unpack(noted)[0] if len(noted) == POSITION.size else -1
        return number if number in numbers else next(iter(numbers), None)

    def _read(self, size_bytes: int) -> Pixels:
        """Copy `size_bytes` out of the memory shared with the process."""
        if size_bytes > os.fstat(self._pixels_fd).st_size:
            raise LoaderLost("the loader promised pixels that are not there")
        memory = np.empty(size_bytes, np.uint8)
        read = 0
        while read < size_bytes:
            read += os.preadv(self._pixels_fd, [memory[read:].data], read)
        return memory

    def wait_until_ready(self) -> None:
        """Wait until the process is ready.

        Raises:
            LoadersError: the process does not start.
        """
        if self._is_ready:
            return
        try:
            self._receive(START_SECONDS)
        except LoaderLost as lost:
            raise LoadersError(f"no loader process starts: {lost}") from lost
        except (EOFError, OSError) as error:
            raise _EndedEarlyError(f"no loader process starts: {self._last_words()[0]}") from error
        self._is_ready = True

    def close(self) -> None:
        """Kill the process; one blocked by a dead file system is left to the system."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        self._connection.close()
        os.close(self._pixels_fd)
        os.close(self._position_fd)

    def _ask(self, request: Mapping[str, Any], replies: int, seconds: float) -> Iterator[Reply]:
        """Yield the replies to a request, each within `seconds` of the one before.

        Raises:
            LoaderLost: the process died, or did not answer in time.
        """
        try:
            self._connection.send_bytes(json.dumps(request).encode())
            while replies:
                some = self._receive(seconds)
                replies -= len(some)
                yield from some
        except (EOFError, OSError) as error:
            raise LoaderLost(*self._last_words()) from error

    def _receive(self, seconds: float) -> list[Reply]:
        used_seconds = self._processor_seconds()
        if not self._connection.poll(seconds):
            used_seconds = self._processor_seconds() - used_seconds
            is_busy = used_seconds > BUSY_SHARE * seconds
            raise LoaderLost(
                f"the loader did not answer within {seconds:g} s",
                Cause.BUSY if is_busy else Cause.STANDING_STILL,
            )
        try:
            replies: list[Reply] = json.loads(self._connection.recv_bytes(MAX_ANSWER_BYTES))
        except ValueError as error:
            raise LoaderLost("the loader answered what cannot be read") from error
        return replies

    def _processor_seconds(self) -> float:
        """Return the process' processor time, 0 where it is gone."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return 0.0
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / _TICKS_PER_SECOND

    def _last_words(self) -> tuple[str, Cause]:
        try:
            status = self._process.wait(LAST_WORDS_SECONDS)
        except subprocess.TimeoutExpired:
            return "the loader ended with what is no answer", Cause.BROKEN
        if status == -signal.SIGXCPU:
            said = "the loader ran out of processor time (FAKESWEEP_DECODE_TIMEOUT_SECONDS)"
        else:
            how = f"signal {-status}" if status < 0 else f"status {status}"
            said = f"the loader ended with {how}"
        return said, cause_of_end(status)


class LoaderPool:
    """Pool of loader processes, some reserved for live images; each serves one thread at a time."""

    def __init__(self, settings: Settings, count: int, live_count: int = 0) -> None:
        self._settings = settings
        self._idle = _Idle(NICENESS)
        self._idle_live = _Idle(0)
        try:
            for idle, wanted in ((self._idle, count), (self._idle_live, live_count)):
                for _ in range(wanted):
                    idle.put(LoaderHandle(settings, idle.niceness))
        except LoadersError:
            self.close()
            raise

    @contextmanager
    def one(self, lane: Lane = Lane.BULK) -> Iterator[LoaderHandle]:
        """Lend a loader to this thread; the next borrower replaces a lost one.

        Raises:
            LoadersError: no process can be started, or each one dies during its start.
        """
        idle = self._idle if lane is not Lane.LIVE or self._idle_live.empty() else self._idle_live
        taken, loader = idle.get(), None
        try:
            loader = self._ready(taken, idle.niceness)
            yield loader
            if loader.is_worn:
                loader.close()
                loader = None
        except BaseException:
            # The loader may be in the middle of an answer, so it is replaced.
            if loader is not None:
                loader.close()
                loader = None
            raise
        finally:
            idle.put(loader)

    def _ready(self, loader: LoaderHandle | None, niceness: int) -> LoaderHandle:
        """Return a started loader: this one, or a new one where it has ended."""
        attempt = 1
        while True:
            if loader is not None and loader.has_ended:
                loader.close()
                loader = None
            loader = loader or LoaderHandle(self._settings, niceness)
            try:
                loader.wait_until_ready()
            except LoadersError as error:
                loader.close()
                loader = None
                if attempt == START_ATTEMPTS or not isinstance(error, _EndedEarlyError):
                    raise
                attempt += 1
            else:
                return loader

    def close(self) -> None:
        """End every loader; call it when no thread uses one."""
        for idle in (self._idle, self._idle_live):
            while not idle.empty():
                if (loader := idle.get()) is not None:
                    loader.close()


class _Idle(queue.LifoQueue[LoaderHandle | None]):
    """Idle loaders of one niceness; None stands for a loader yet to be started."""

    def __init__(self, niceness: int) -> None:
        super().__init__()
        self.niceness = niceness


@contextmanager
def open_loader_pool(settings: Settings, count: int, live_count: int = 0) -> Iterator[LoaderPool]:
    """Yield a pool of `count` loaders and `live_count` live ones; the context's end ends them."""
    loaders = LoaderPool(settings, count, live_count)
    try:
        yield loaders
    finally:
        loaders.close()


def _start(descriptors: Sequence[int], niceness: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - our own module, and numbers
        [
            sys.executable, "-P", "-m", "fakesweep.workers.sandbox.process",
            *map(str, descriptors), str(os.getpid()), str(niceness),
        ],
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        env=first_environment(),
    )  # fmt: skip


def _view(memory: Pixels, place: Mapping[str, Any]) -> Pixels:
    """Return an image's pixels in the chunk's memory, [height, width, 3]."""
    shape, offset = place["shape"], place["offset"]
    return memory[offset : offset + math.prod(shape)].reshape(shape)
