import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from fakesweep.workers.threads.exclusive import SharedExclusiveLock
from tests.support.servers import wait_until


class Batches:
    """Threads that each hold the lock until they are told to end."""

    def __init__(self) -> None:
        self.batch_lock = SharedExclusiveLock()
        self.working: list[str] = []
        self._threads = ThreadPoolExecutor(8)
        self._ends: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def begin(self, name: str, *, alone: bool = False) -> Future[None]:
        self._ends[name] = threading.Event()
        return self._threads.submit(self._work, name, alone=alone)

    def end(self, name: str) -> None:
        self._ends[name].set()

    def await_working(self, *names: str) -> None:
        wait_until(lambda: sorted(self.working) == sorted(names), f"{names} work", 10)

    def await_waiting_alone(self, count: int) -> None:
        wait_until(
            lambda: self.batch_lock._waiting_exclusive == count, f"{count} wait to be alone", 10
        )

    def close(self) -> None:
        for end in self._ends.values():
            end.set()
        self._threads.shutdown()

    def _work(self, name: str, *, alone: bool) -> None:
        with self.batch_lock.taken(alone=alone):
            with self._lock:
                self.working.append(name)
            assert self._ends[name].wait(30)
            with self._lock:
                self.working.remove(name)


@pytest.fixture
def batches() -> Iterator[Batches]:
    made = Batches()
    yield made
    made.close()


def test_batches_work_side_by_side(batches: Batches) -> None:
    for name in ("a", "b", "c"):
        batches.begin(name)
    batches.await_working("a", "b", "c")


def test_who_wants_to_be_alone_waits_for_all_others_to_end(batches: Batches) -> None:
    batches.begin("a")
    batches.begin("b")
    batches.await_working("a", "b")
    alone = batches.begin("alone", alone=True)
    batches.await_waiting_alone(1)
    batches.end("a")
    batches.await_working("b")
    assert not alone.done()
    batches.end("b")
    batches.await_working("alone")


def test_nobody_begins_beside_the_one_that_is_alone_or_waits_to_be(batches: Batches) -> None:
    batches.begin("a")
    batches.await_working("a")
    batches.begin("alone", alone=True)
    batches.await_waiting_alone(1)
    late = batches.begin("late")
    batches.end("a")
    batches.await_working("alone")
    later = batches.begin("later")
    assert not late.done()
    assert not later.done()
    batches.end("alone")
    batches.await_working("late", "later")


def test_two_that_want_to_be_alone_go_one_after_the_other_and_before_the_rest(
    batches: Batches,
) -> None:
    batches.begin("first", alone=True)
    batches.await_working("first")
    batches.begin("second", alone=True)
    batches.await_waiting_alone(1)
    batches.begin("other")
    batches.end("first")
    batches.await_working("second")
    batches.end("second")
    batches.await_working("other")


@pytest.mark.parametrize("alone", [False, True])
def test_an_error_releases_the_lock(batches: Batches, *, alone: bool) -> None:
    with pytest.raises(ValueError, match="broken"), batches.batch_lock.taken(alone=alone):
        raise ValueError("broken")
    batches.begin("next", alone=True)
    batches.await_working("next")


def test_random_holders_never_overlap_an_exclusive_one() -> None:
    turns, inside, lock = SharedExclusiveLock(), [0, 0], threading.Lock()
    broken: list[tuple[int, int]] = []

    def take(number: int) -> None:
        alone = number % 7 == 0
        with turns.taken(alone=alone):
            with lock:
                inside[alone] += 1
                if inside[True] > 1 or (inside[True] and inside[False]):
                    broken.append((inside[False], inside[True]))
            with lock:
                inside[alone] -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(take, range(2_000), timeout=60))
    assert not broken
