import threading
from collections.abc import Callable

import pytest
import structlog

from fakesweep.schema.telemetry.throughput import Counts, StageReport
from fakesweep.workers.pipeline import throughput as module
from fakesweep.workers.pipeline.throughput import Stage, Stages
from tests.support.servers import wait_until


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = 1_000.0
    monkeypatch.setattr("fakesweep.workers.pipeline.throughput.time.monotonic", lambda: now)

    def forward(seconds: float) -> None:
        nonlocal now
        now += seconds

    return forward


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten ten seconds to a fifth of one."""
    for name in ("REPORT_SECONDS", "WRITE_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(module, name, getattr(module, name) / 50)


class Written:
    """Records a worker's reports to the ledger."""

    def __init__(self) -> None:
        self.reports: list[StageReport] = []
        self.totals: list[Counts] = []

    def __call__(self, lately: StageReport, total: Counts) -> None:
        self.reports.append(lately)
        self.totals.append(total)

    def __len__(self) -> int:
        return len(self.reports)

    def images(self, stage: Stage) -> int:
        return self.totals[-1].stages[stage].images


def test_running_work_counts_up_to_now_and_its_images_at_its_end(
    clock: Callable[[float], None],
) -> None:
    stages = Stages(4, 2, lambda: 0.0)
    with stages.timed(Stage.DECODE, 30):
        clock(2.0)
        during = stages.counts().stages[Stage.DECODE]
        with stages.timed(Stage.DECODE, 10):
            clock(1.0)
    clock(1.0)
    after = stages.counts().stages[Stage.DECODE]
    assert (during.images, during.busy_seconds) == (0, 2.0)
    assert (after.images, after.busy_seconds, after.capacity_seconds) == (40, 4.0, 16.0)


def test_a_stage_that_fails_is_counted_too(clock: Callable[[float], None]) -> None:
    stages = Stages(4, 2, lambda: 0.0)

    def fail() -> None:
        clock(3.0)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), stages.timed(Stage.STORE, 5):
        fail()
    clock(7.0)
    store = stages.counts().stages[Stage.STORE]
    assert (store.images, store.busy_seconds, store.capacity_seconds) == (5, 3.0, 20.0)


def test_the_devices_own_clock_gives_its_busy_time(clock: Callable[[float], None]) -> None:
    at_work = 7.0
    stages = Stages(4, 2, lambda: at_work)
    with stages.timed(Stage.DEVICE, 64):
        clock(10.0)
        at_work += 9.0
    device = stages.counts().stages[Stage.DEVICE]
    assert (device.images, device.busy_seconds, device.capacity_seconds) == (64, 9.0, 10.0)


def test_many_threads_lose_no_image() -> None:
    stages = Stages(4, 2, lambda: 0.0)

    def work() -> None:
        for _ in range(500):
            with stages.timed(Stage.FETCH, 2):
                stages.waited(Stage.FETCH, 0.5)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fetch = stages.counts().stages[Stage.FETCH]
    assert (fetch.images, fetch.waits, fetch.wait_seconds) == (4_000, 2_000, 1_000.0)


def test_the_log_says_rates_busy_shares_waits_and_the_bottleneck(
    clock: Callable[[float], None],
) -> None:
    stages = Stages(1, 2, lambda: 0.0)
    with structlog.testing.capture_logs() as lines, stages.running():
        stages.waited(Stage.FETCH, 0.25)
        stages.waited(Stage.FETCH, 0.75)
        for stage, seconds in ((Stage.FETCH, 0.5), (Stage.DECODE, 4.0), (Stage.STORE, 0.5)):
            with stages.timed(stage, 30):
                clock(seconds)
    assert lines == [
        {
            "event": "stages",
            "log_level": "info",
            "bottleneck": "decode",
            "wall": "decode",
            "images_per_second": {
                "fetch": 6.0, "look_up": 0.0, "decode": 6.0, "device": 0.0, "store": 6.0,
            },
            "busy_percent": {"fetch": 10, "look_up": 0, "decode": 80, "device": 0, "store": 5},
            "wait_seconds": {"fetch": 0.5},
        }
    ]  # fmt: skip


def test_an_idle_worker_logs_nothing() -> None:
    with structlog.testing.capture_logs() as lines, Stages(4, 2, lambda: 0.0).running():
        pass
    assert lines == []


@pytest.mark.usefixtures("_hurried")
def test_while_there_is_work_the_log_is_told_again_and_again() -> None:
    stages = Stages(1, 2, lambda: 0.0)
    with (
        structlog.testing.capture_logs() as lines,
        stages.running(),
        stages.timed(Stage.DECODE, 30),
    ):
        wait_until(lambda: len(lines) >= 2, "the log was told twice")
        told = lines[:2]
    assert all(line["bottleneck"] == "decode" for line in told)
    assert all(line["busy_percent"]["decode"] > 50 for line in told)


def test_the_ledger_is_told_at_the_start_when_work_ends_and_at_the_end() -> None:
    written = Written()
    stages = Stages(4, 2, lambda: 0.0, written)
    with stages.running():
        assert len(written) == 1
        assert not written.totals[0].shows_work
        with stages.timed(Stage.STORE, 256):
            pass
        wait_until(lambda: written.images(Stage.STORE) == 256, "the ledger knows the batch")
        with stages.timed(Stage.STORE, 44):
            pass
    assert written.images(Stage.STORE) == 300


@pytest.mark.usefixtures("_hurried")
def test_a_device_whose_clock_stands_during_a_long_call_is_no_idle_worker() -> None:
    written = Written()
    stages = Stages(1, 2, lambda: 0.0, written)
    with (
        structlog.testing.capture_logs() as lines,
        stages.running(),
        stages.timed(Stage.DEVICE, 30),
    ):
        wait_until(lambda: len(lines) >= 2 and len(written) >= 4, "log and ledger are told")


@pytest.mark.usefixtures("_hurried")
def test_the_ledger_is_told_until_the_last_ten_seconds_saw_no_work() -> None:
    written = Written()
    stages = Stages(4, 2, lambda: 0.0, written)
    with stages.running():
        with stages.timed(Stage.FETCH, 64):
            pass
        wait_until(lambda: written.reports[-1].images_per_second > 0, "the work is told")
        wait_until(lambda: written.reports[-1].images_per_second == 0, "the work is over")
        assert written.reports[-1].bottleneck == "queue"
        told = len(written)
        threading.Event().wait(10 * module.WRITE_SECONDS)
        assert len(written) == told
    assert written.images(Stage.FETCH) == 64


@pytest.mark.usefixtures("_hurried")
def test_a_ledger_that_cannot_be_told_is_logged_once_and_told_later() -> None:
    written = Written()
    failures = 0
    is_broken = True

    def write(lately: StageReport, total: Counts) -> None:
        nonlocal failures
        if is_broken:
            failures += 1
            raise OSError("the ledger\nis away")
        written(lately, total)

    stages = Stages(4, 2, lambda: 0.0, write)
    with structlog.testing.capture_logs() as lines, stages.running():
        with stages.timed(Stage.DECODE, 64):
            wait_until(lambda: failures >= 3, "writing failed three times")
            is_broken = False
            wait_until(lambda: len(written) > 0, "writing works again")
        wait_until(lambda: written.images(Stage.DECODE) == 64, "nothing was lost")
    warned = [line for line in lines if line["event"] == "stages_not_recorded"]
    assert [line["reason"] for line in warned] == ["the ledger is away"]
