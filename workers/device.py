"""The device's queue: images of all batches in flight, gathered into full calls, live first."""

import heapq
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from schema.failures import ImageFailure
from schema.words import Lane
from workers.models.load import LoadedModel

Answer = tuple[float, ...] | ImageFailure

_ORDER = {lane: place for place, lane in enumerate(Lane)}


@dataclass(order=True, slots=True)
class _Request:
    """Images that one batch wants scored; `asked` of them are on their way to the device."""

    lane_order: int
    number: int
    model: LoadedModel = field(compare=False)
    inputs: Sequence[Any] = field(compare=False)
    asked: int = field(default=0, compare=False)
    answers: dict[int, Answer] = field(default_factory=dict, compare=False)
    error: BaseException | None = field(default=None, compare=False)
    done: threading.Event = field(default_factory=threading.Event, compare=False)


@dataclass(frozen=True, slots=True)
class _Share:
    """What one request contributes to one call of the model."""

    request: _Request
    first: int
    inputs: Sequence[Any]


class Device:
    """Scores for many threads at once, in calls of at most `batch_images` images of one model.

    `busy_seconds` is how long the device has been at work since the start.
    """

    def __init__(self, batch_images: int) -> None:
        self.busy_seconds = 0.0
        self._batch_images = batch_images
        self._numbers = itertools.count()
        self._waiting: list[_Request] = []
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name="device", daemon=True)

    @contextmanager
    def running(self) -> Iterator["Device"]:
        """Serve for as long as the context lasts; what waits at its end is still answered."""
        self._thread.start()
        try:
            yield self
        finally:
            with self._changed:
                self._is_closing = True
                self._changed.notify()
            self._thread.join()

    def classify(self, model: LoadedModel, inputs: Sequence[Any], lane: Lane) -> list[Answer]:
        """Return the answer for each image, in order; blocks until all are there.

        Raises:
            DeviceError: the device is broken.
        """
        if not inputs:
            return []
        request = _Request(_ORDER[lane], next(self._numbers), model, inputs)
        with self._changed:
            heapq.heappush(self._waiting, request)
            self._changed.notify()
        request.done.wait()
        if request.error is not None:
            raise request.error
        return [request.answers[number] for number in range(len(inputs))]

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return
                shares = self._gather()
            if not shares:
                continue
            started = time.monotonic()
            self._answer(shares)
            self.busy_seconds += time.monotonic() - started

    def _gather(self) -> list[_Share]:
        """Take images for one call, of the first request's model, from the first requests on."""
        model = self._waiting[0].model
        room = self._batch_images
        shares: list[_Share] = []
        kept: list[_Request] = []
        while self._waiting and room:
            request = heapq.heappop(self._waiting)
            if request.error is not None:
                continue
            if request.model is not model:
                kept.append(request)
                continue
            inputs = request.inputs[request.asked : request.asked + room]
            shares.append(_Share(request, request.asked, inputs))
            room -= len(inputs)
            request.asked += len(inputs)
            if request.asked < len(request.inputs):
                kept.append(request)
        for request in kept:
            heapq.heappush(self._waiting, request)
        return shares

    def _answer(self, shares: Sequence[_Share]) -> None:
        try:
            inputs = [one for share in shares for one in share.inputs]
            answers = iter(shares[0].request.model.classify(inputs))
            for share in shares:
                own = itertools.islice(answers, len(share.inputs))
                share.request.answers |= dict(enumerate(own, share.first))
        except BaseException as error:  # noqa: BLE001 - raised again in the threads that wait
            for share in shares:
                share.request.error = error
        for share in shares:
            request = share.request
            if request.error is not None or len(request.answers) == len(request.inputs):
                request.done.set()
