"""Device queue: gathers images of all batches in flight into full calls, live images first."""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from fakesweep.schema.failures import ImageFailure
from fakesweep.schema.words import Lane
from fakesweep.workers.threads.fatal import end_for_stuck_device, vital_thread
from fakesweep.workers.threads.priority import ORDER

if TYPE_CHECKING:
    from fakesweep.workers.models.load import LoadedModel

Scored = tuple[float, ...] | ImageFailure

LIVE_SECONDS = 5.0
"""Period after a live image in which calls stay short, since another live image may follow."""

WAITING_CALLS = 2
"""Queue limit of bulk images, in full calls; further submitters block."""


@dataclass(order=True, slots=True)
class _Request:
    """A chunk's images for one model; the first `asked` of them are in calls."""

    lane_order: int
    number: int
    model: "LoadedModel" = field(compare=False)
    inputs: Sequence[Any] = field(compare=False)
    since: float = field(default_factory=time.monotonic, compare=False)
    asked: int = field(default=0, compare=False)
    answers: dict[int, Scored] = field(default_factory=dict, compare=False)
    future: Future[list[Scored]] = field(default_factory=Future, compare=False)


@dataclass(frozen=True, slots=True)
class _Share:
    """One request's images in one call of the model."""

    request: _Request
    first: int
    inputs: Sequence[Any]


@dataclass(frozen=True, slots=True)
class _Call:
    """A running call of the model; `wait` returns its scores."""

    shares: Sequence[_Share]
    wait: Callable[[], Sequence[Scored]]


class DeviceQueue:
    """Scores images for many threads, in full calls of one model each.

    A call longer than `timeout_seconds` ends the process. `waited` receives the seconds each
    request waited for its first call.
    """

    def __init__(
        self, timeout_seconds: float, waited: Callable[[float], None] = lambda _seconds: None
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._waited = waited
        self._busy: tuple[float, float | None] = (0.0, None)
        self._numbers = itertools.count()
        self._waiting: list[_Request] = []
        self._live_at = -LIVE_SECONDS
        self._changed = threading.Condition()
        self._is_closing = False
        self._closed = threading.Event()
        self._thread = vital_thread("device", self._work)
        self._watch = vital_thread("device-watch", self._watch_calls)

    @contextmanager
    def running(self) -> Iterator["DeviceQueue"]:
        """Serve requests for the context; requests waiting at its end are still answered."""
        self._thread.start()
        self._watch.start()
        try:
            yield self
        finally:
            with self._changed:
                self._is_closing = True
                self._changed.notify_all()
            self._thread.join()
            self._closed.set()
            self._watch.join()

    @property
    def busy_seconds(self) -> float:
        """Busy seconds of the device since the start, including the running call."""
        seconds, since = self._busy
        return seconds if since is None else seconds + time.monotonic() - since

    @property
    def call_seconds(self) -> float:
        """Seconds of the running call, 0 without one."""
        since = self._busy[1]
        return 0.0 if since is None else time.monotonic() - since

    def submit(
        self, model: "LoadedModel", inputs: Sequence[Any], lane: Lane
    ) -> Future[list[Scored]]:
        """Queue images; return the future of their scores, in order, or of a DeviceError.

        Blocks bulk images while the queue is full, so that decoded pixels do not fill the memory.
        """
        request = _Request(ORDER[lane], next(self._numbers), model, inputs)
        if not inputs:
            request.future.set_result([])
            return request.future
        with self._changed:
            if lane is Lane.LIVE:
                self._live_at = time.monotonic()
            else:
                self._changed.wait_for(
                    lambda: self._images_waiting() < WAITING_CALLS * model.call_images
                )
            heapq.heappush(self._waiting, request)
            self._changed.notify_all()
        return request.future

    def _images_waiting(self) -> int:
        return sum(len(request.inputs) - request.asked for request in self._waiting)

    def _work(self) -> None:
        under_way: deque[_Call] = deque()
        while True:
            with self._changed:
                if not under_way:
                    self._changed.wait_for(lambda: self._waiting or self._is_closing)
                    if not self._waiting:
                        return
                shares = self._gather()
            self._busy = (self._busy[0], time.monotonic())
            calls_ahead = 0
            if shares:
                model = shares[0].request.model
                inputs = [one for share in shares for one in share.inputs]
                under_way.append(_started(model, inputs, shares))
                calls_ahead = model.engine.calls_ahead
            while len(under_way) > calls_ahead:
                _answer(under_way.popleft())
            self._busy = (self.busy_seconds, None)

    def _watch_calls(self) -> None:
        while not self._closed.wait(min(1.0, self._timeout_seconds / 4)):
            if self.call_seconds > self._timeout_seconds:
                end_for_stuck_device(self.call_seconds)

    def _gather(self) -> list[_Share]:
        """Take images for one call: the first request's model, in the order of the requests."""
        shares: list[_Share] = []
        kept: list[_Request] = []
        room = 1
        while self._waiting and room:
            request = heapq.heappop(self._waiting)
            if request.future.done():  # an earlier call of it failed
                continue
            if not shares:
                room = self._room(request)
            elif request.model is not shares[0].request.model:
                kept.append(request)
                continue
            if not request.asked:
                self._waited(time.monotonic() - request.since)
            inputs = request.inputs[request.asked : request.asked + room]
            shares.append(_Share(request, request.asked, inputs))
            room -= len(inputs)
            request.asked += len(inputs)
            if request.asked < len(request.inputs):
                kept.append(request)
        for request in kept:
            heapq.heappush(self._waiting, request)
        self._changed.notify_all()
        return shares

    def _room(self, first: _Request) -> int:
        """Return the number of images of a call; few where a live image would have to wait."""
        model, is_live = first.model, first.lane_order == ORDER[Lane.LIVE]
        is_expected = time.monotonic() - self._live_at < LIVE_SECONDS
        if is_live or (is_expected and not model.engine.calls_ahead):
            return min(model.urgent_images, model.call_images)
        return model.call_images


def _started(model: "LoadedModel", inputs: Sequence[Any], shares: Sequence[_Share]) -> _Call:
    """Start a call; an error of the start is raised by the call's `wait`."""
    try:
        return _Call(shares, model.start(inputs))
    except Exception as error:  # noqa: BLE001 - fails these requests, not the worker
        return _Call(shares, partial(_raise, error))


def _raise(error: Exception) -> NoReturn:
    raise error


def _answer(call: _Call) -> None:
    """Wait for a call, and complete each request that has all of its scores."""
    try:
        answers = iter(call.wait())
    except Exception as error:  # noqa: BLE001 - raised again by the futures
        for share in call.shares:
            if not share.request.future.done():
                share.request.future.set_exception(error)
        return
    for share in call.shares:
        request = share.request
        own = itertools.islice(answers, len(share.inputs))
        request.answers |= dict(enumerate(own, share.first))
        if len(request.answers) == len(request.inputs) and not request.future.done():
            request.future.set_result([request.answers[n] for n in range(len(request.inputs))])
