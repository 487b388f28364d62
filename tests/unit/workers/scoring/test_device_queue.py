import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fakesweep.schema.errors import DeviceError
from fakesweep.schema.failures import ModelFailed
from fakesweep.schema.words import Lane
from fakesweep.workers.models.load import LoadedModel
from fakesweep.workers.scoring.device_queue import WAITING_CALLS, DeviceQueue, Scored
from tests.support.servers import wait_until

THIRTEEN = ModelFailed("thirteen")


class Model:
    """Scores a number as itself; its first answers wait until it is released.

    `steps` are the started and awaited calls, in order.
    """

    def __init__(
        self, call_images: int = 4, calls_ahead: int = 0, urgent_images: int | None = None
    ) -> None:
        self.call_images = call_images
        self.urgent_images = urgent_images or call_images
        self.engine = SimpleNamespace(calls_ahead=calls_ahead)
        self.steps: list[tuple[str, list[int]]] = []
        self.let_go = threading.Event()

    def start(self, inputs: Sequence[int]) -> Callable[[], list[Scored]]:
        call = list(inputs)
        self.steps.append(("start", call))

        def wait() -> list[Scored]:
            self.steps.append(("wait", call))
            assert self.let_go.wait(30)
            if 666 in call:
                raise DeviceError("an illegal access")
            return [THIRTEEN if number == 13 else (float(number),) for number in call]

        return wait

    @property
    def calls(self) -> list[list[int]]:
        return [call for step, call in self.steps if step == "start"]


class Unstartable(Model):
    def start(self, inputs: Sequence[int]) -> Callable[[], list[Scored]]:
        super().start(inputs)
        raise TypeError("no such image")


@pytest.fixture(autouse=True)
def _device_lives(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the device's thread from ending the tests' process."""
    died: list[int] = []
    monkeypatch.setattr(os, "_exit", died.append)
    yield
    assert died == []


@pytest.fixture
def device() -> Iterator[DeviceQueue]:
    with DeviceQueue(60).running() as running:
        yield running


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as opened:
        yield opened


@pytest.fixture
def busy(device: DeviceQueue) -> Iterator[Model]:
    """A model that holds the device with one image, so that later calls wait."""
    model = Model()
    ask(device, model, [0])
    wait_until(lambda: bool(model.steps), "the device is busy")
    yield model
    model.let_go.set()


def sound(**parts: int) -> Model:
    model = Model(**parts)
    model.let_go.set()
    return model


def ask(
    device: DeviceQueue, model: Model, inputs: Sequence[int], lane: Lane = Lane.BULK
) -> Future[list[Scored]]:
    return device.submit(cast("LoadedModel", model), inputs, lane)


def scores(*numbers: int) -> list[Any]:
    return [(float(number),) for number in numbers]


def test_what_waits_is_gathered_into_full_calls_and_each_gets_its_own_answers(
    device: DeviceQueue, busy: Model
) -> None:
    asked = [ask(device, busy, numbers) for numbers in ([1, 2, 3], [4, 5], [6])]
    busy.let_go.set()
    assert [one.result(10) for one in asked] == [scores(1, 2, 3), scores(4, 5), scores(6)]
    assert busy.calls == [[0], [1, 2, 3, 4], [5, 6]]


def test_live_images_overtake_bulk_images_that_wait(device: DeviceQueue, busy: Model) -> None:
    asked = [
        ask(device, busy, [1, 2, 3, 4, 5]),
        ask(device, busy, [6]),
        ask(device, busy, [7, 8], Lane.LIVE),
    ]
    busy.let_go.set()
    for one in asked:
        one.result(10)
    assert busy.calls == [[0], [7, 8, 1, 2], [3, 4, 5, 6]]


def test_calls_are_short_as_long_as_live_images_may_come(
    device: DeviceQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = sound(call_images=4, urgent_images=2)
    ask(device, model, [1, 2, 3, 4]).result(10)
    ask(device, model, [5, 6, 7], Lane.LIVE).result(10)
    ask(device, model, [11, 12, 13]).result(10)
    monkeypatch.setattr("fakesweep.workers.scoring.device_queue.LIVE_SECONDS", 0.0)
    ask(device, model, [21, 22, 23, 24]).result(10)
    assert model.calls == [[1, 2, 3, 4], [5, 6], [7], [11, 12], [13], [21, 22, 23, 24]]


def test_a_device_with_calls_ahead_keeps_bulk_calls_full_beside_live_ones(
    device: DeviceQueue,
) -> None:
    model = sound(call_images=4, calls_ahead=1, urgent_images=2)
    ask(device, model, [5, 6, 7], Lane.LIVE).result(10)
    ask(device, model, [11, 12, 13]).result(10)
    assert model.calls == [[5, 6], [7], [11, 12, 13]]


def test_a_call_holds_images_of_one_model_only(device: DeviceQueue, busy: Model) -> None:
    other = sound()
    asked = [ask(device, *request) for request in ((busy, [1]), (other, [2]), (busy, [3]))]
    busy.let_go.set()
    assert [one.result(10) for one in asked] == [scores(1), scores(2), scores(3)]
    assert busy.calls == [[0], [1, 3]]
    assert other.calls == [[2]]


def test_calls_follow_the_model_when_it_takes_fewer_images(
    device: DeviceQueue, busy: Model
) -> None:
    asked = ask(device, busy, range(1, 6))
    busy.call_images = 2  # like a device without memory for more
    busy.let_go.set()
    assert asked.result(10) == scores(1, 2, 3, 4, 5)
    assert busy.calls == [[0], [1, 2], [3, 4], [5]]


def test_no_call_is_larger_than_its_own_model_takes(device: DeviceQueue, busy: Model) -> None:
    broken, small = sound(call_images=5), sound(call_images=2)
    failed = ask(device, broken, [666, *range(7)], Lane.LIVE)
    asked = ask(device, small, range(5), Lane.LIVE)
    busy.let_go.set()
    assert isinstance(failed.exception(10), DeviceError)
    assert asked.result(10) == scores(0, 1, 2, 3, 4)
    assert small.calls == [[0, 1], [2, 3], [4]]


def test_an_image_that_fails_is_an_answer_like_others(device: DeviceQueue) -> None:
    assert ask(device, sound(), [13, 1]).result(10) == [THIRTEEN, (1.0,)]


def test_no_images_need_no_call(device: DeviceQueue) -> None:
    model = sound()
    assert ask(device, model, []).result(0) == []
    assert model.calls == []


def test_bulk_images_wait_outside_while_enough_for_the_next_calls_wait_inside(
    device: DeviceQueue, busy: Model, threads: ThreadPoolExecutor
) -> None:
    enough = WAITING_CALLS * busy.call_images
    inside = ask(device, busy, range(1, enough + 1))
    outside = threads.submit(ask, device, busy, [101, 102])
    wait_until(lambda: len(device._changed._waiters) == 1, "it waits outside")  # type: ignore[attr-defined]

    live = threads.submit(ask, device, busy, [201], Lane.LIVE).result(10)

    assert not outside.done()
    assert busy.calls == [[0]]
    busy.let_go.set()
    assert outside.result(10).result(10) == scores(101, 102)
    assert live.result(10) == scores(201)
    assert inside.result(10) == scores(*range(1, enough + 1))
    assert busy.calls[1][0] == 201


def test_bulk_images_go_in_while_fewer_than_those_wait(device: DeviceQueue, busy: Model) -> None:
    asked = [ask(device, busy, range(1, WAITING_CALLS * busy.call_images)), ask(device, busy, [9])]
    busy.let_go.set()
    assert [len(one.result(10)) for one in asked] == [7, 1]


def test_the_next_call_is_started_before_the_one_before_is_waited_for(device: DeviceQueue) -> None:
    model = sound(call_images=3, calls_ahead=1)
    asked = ask(device, model, [*range(7), 13])
    one, two, three = [0, 1, 2], [3, 4, 5], [6, 13]
    assert asked.result(10) == [*scores(*range(7)), THIRTEEN]
    assert model.steps == [
        ("start", one), ("start", two), ("wait", one), ("start", three), ("wait", two),
        ("wait", three),
    ]  # fmt: skip


def test_a_call_under_way_does_not_wait_for_another_to_come(device: DeviceQueue) -> None:
    model = sound(calls_ahead=1)
    for number in range(3):
        assert ask(device, model, [number]).result(10) == scores(number)


def test_calls_of_models_that_do_and_do_not_run_ahead_all_get_their_answers(
    device: DeviceQueue, busy: Model
) -> None:
    ahead, prompt = sound(calls_ahead=1), sound()
    models = [ahead, prompt, ahead, prompt, ahead]
    asked = [ask(device, model, [n, n + 20], Lane.LIVE) for n, model in enumerate(models)]
    busy.let_go.set()
    assert [one.result(10) for one in asked] == [scores(n, n + 20) for n in range(5)]


@pytest.mark.parametrize("calls_ahead", [0, 1])
def test_a_call_that_breaks_is_the_error_of_its_own_requests_alone(
    device: DeviceQueue, busy: Model, calls_ahead: int
) -> None:
    model = sound(calls_ahead=calls_ahead)
    requests = ([1, 2], [666], [3, 4, 5], [6, 7])
    asked = [ask(device, model, numbers, Lane.LIVE) for numbers in requests]
    busy.let_go.set()
    found = [one.exception(10) for one in asked]
    assert [type(one) for one in found] == [DeviceError] * 3 + [type(None)]
    assert asked[3].result(10) == scores(6, 7)


def test_the_rest_of_a_request_that_broke_is_not_tried(device: DeviceQueue) -> None:
    broken = sound()
    with pytest.raises(DeviceError, match="illegal access"):
        ask(device, broken, [666, *range(9)]).result(10)
    assert ask(device, sound(), [1]).result(10) == scores(1)
    assert broken.calls == [[666, 0, 1, 2]]


def test_a_call_that_cannot_be_started_is_the_error_of_its_own_requests_alone(
    device: DeviceQueue,
) -> None:
    model = Unstartable()
    with pytest.raises(TypeError, match="no such image"):
        ask(device, model, [1, 2]).result(10)
    assert ask(device, sound(), [1]).result(10) == scores(1)


def test_what_waits_when_it_closes_is_still_answered() -> None:
    model = Model(call_images=2)
    with DeviceQueue(60).running() as device:
        asked = ask(device, model, [1, 2, 3, 4, 5])
        wait_until(lambda: model.calls == [[1, 2]], "the first call runs")
        model.let_go.set()
    assert asked.result(0) == scores(1, 2, 3, 4, 5)


def test_it_is_busy_while_a_call_runs_and_at_no_other_time() -> None:
    model = Model()
    device = DeviceQueue(60)
    with device.running():
        assert device.busy_seconds == 0
        asked = ask(device, model, [1])
        wait_until(lambda: device.busy_seconds > 0, "a call under way counts")
        earlier = device.busy_seconds
        wait_until(lambda: device.busy_seconds > earlier, "it counts up to now")
        model.let_go.set()
        asked.result(10)
    ended = device.busy_seconds
    assert device.busy_seconds == ended > earlier


def test_each_request_tells_once_how_long_it_waited() -> None:
    waited: list[float] = []
    model = sound(call_images=2)
    with DeviceQueue(60, waited.append).running() as device:
        for numbers in ([1, 2, 3, 4, 5], [6]):
            ask(device, model, numbers).result(10)
    assert len(waited) == 2
    assert min(waited) >= 0
