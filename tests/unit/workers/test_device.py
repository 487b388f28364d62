import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import pytest

from schema.errors import DeviceError
from schema.failures import ModelFailed
from schema.words import Lane
from tests.servers import wait_until
from workers.device import Answer, Device
from workers.models.load import LoadedModel


class Model:
    """Scores a number as itself; waits in its first call until it is let go."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.let_go = threading.Event()

    def classify(self, inputs: Sequence[int]) -> list[Answer]:
        self.calls.append(list(inputs))
        self.let_go.wait(30)
        return [ModelFailed("thirteen") if number == 13 else (float(number),) for number in inputs]


class Broken(Model):
    def classify(self, inputs: Sequence[int]) -> list[Answer]:
        self.calls.append(list(inputs))
        raise DeviceError("an illegal access")


@pytest.fixture
def device() -> Iterator[Device]:
    with Device(batch_images=4).running() as running:
        yield running


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as opened:
        yield opened


@pytest.fixture
def busy(device: Device, threads: ThreadPoolExecutor) -> Model:
    """A model that holds the device with one image, so that what comes next has to wait."""
    model = Model()
    threads.submit(ask, device, model, [0])
    wait_until(lambda: model.calls == [[0]], "the device is busy")
    return model


def ask(device: Device, model: Model, inputs: list[int], lane: Lane = Lane.BULK) -> list[Answer]:
    return device.classify(cast("LoadedModel", model), inputs, lane)


def ask_behind(
    threads: ThreadPoolExecutor, device: Device, model: Model, *requests: tuple[list[int], Lane]
) -> list[Future[list[Answer]]]:
    """Ask in this order, each once the one before is waiting, then let the device go on."""
    asked = []
    for inputs, lane in requests:
        asked.append(threads.submit(ask, device, model, inputs, lane))
        wait_until(lambda: len(device._waiting) == len(asked), "the request waits")
    model.let_go.set()
    return asked


def scores(*numbers: int) -> list[Any]:
    return [(float(number),) for number in numbers]


def test_what_waits_is_gathered_into_full_calls_and_each_gets_its_own_answers(
    device: Device, busy: Model, threads: ThreadPoolExecutor
) -> None:
    asked = ask_behind(
        threads, device, busy, ([1, 2, 3], Lane.BULK), ([4, 5], Lane.BULK), ([6], Lane.BULK)
    )
    assert [one.result(10) for one in asked] == [scores(1, 2, 3), scores(4, 5), scores(6)]
    assert busy.calls == [[0], [1, 2, 3, 4], [5, 6]]


def test_live_images_overtake_bulk_images_that_wait(
    device: Device, busy: Model, threads: ThreadPoolExecutor
) -> None:
    asked = ask_behind(
        threads, device, busy, ([1, 2, 3, 4, 5], Lane.BULK), ([6], Lane.BULK), ([7, 8], Lane.LIVE)
    )
    for one in asked:
        one.result(10)
    assert busy.calls == [[0], [7, 8, 1, 2], [3, 4, 5, 6]]


def test_a_call_holds_images_of_one_model_only(
    device: Device, busy: Model, threads: ThreadPoolExecutor
) -> None:
    other = Model()
    other.let_go.set()
    asked = [threads.submit(ask, device, busy, [1])]
    wait_until(lambda: len(device._waiting) == 1, "the first request waits")
    asked.append(threads.submit(ask, device, other, [2]))
    wait_until(lambda: len(device._waiting) == 2, "the second request waits")
    asked += ask_behind(threads, device, busy)
    assert [one.result(10) for one in asked] == [scores(1), scores(2)]
    assert busy.calls == [[0], [1]]
    assert other.calls == [[2]]


def test_an_image_that_fails_is_an_answer_like_others(device: Device) -> None:
    model = Model()
    model.let_go.set()
    first, second = ask(device, model, [13, 1])
    assert isinstance(first, ModelFailed)
    assert second == (1.0,)


def test_no_images_need_no_call(device: Device) -> None:
    model = Model()
    assert ask(device, model, []) == []
    assert model.calls == []


def test_a_broken_device_is_everybodys_error_and_the_queue_goes_on(device: Device) -> None:
    broken, sound = Broken(), Model()
    sound.let_go.set()
    with pytest.raises(DeviceError, match="illegal access"):
        ask(device, broken, list(range(10)))
    assert len(broken.calls) == 1, "the rest of a request that failed is not tried"
    assert ask(device, sound, [1]) == scores(1)


def test_what_waits_when_it_closes_is_still_answered(threads: ThreadPoolExecutor) -> None:
    model = Model()
    with Device(batch_images=2).running() as device:
        asked = threads.submit(ask, device, model, [1, 2, 3, 4, 5])
        wait_until(lambda: model.calls == [[1, 2]], "the first call runs")
        model.let_go.set()
    assert asked.result(10) == scores(1, 2, 3, 4, 5)
    assert device.busy_seconds > 0
