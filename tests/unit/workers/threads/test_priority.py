import threading
from collections.abc import Iterator
from functools import partial

import pytest

from fakesweep.schema.words import Lane
from fakesweep.workers.threads.priority import PriorityThreads
from tests.support.servers import wait_until


class Held:
    """A single thread that is busy until it is released; `done` is its work in order."""

    def __init__(self, pool: PriorityThreads) -> None:
        self.pool = pool
        self.let_go = threading.Event()
        self.done: list[str] = []
        begun = threading.Event()

        def hold() -> None:
            begun.set()
            self.let_go.wait(30)

        pool.submit(Lane.BULK, hold)
        assert begun.wait(30)

    def ask(self, lane: Lane, name: str) -> None:
        self.pool.submit(lane, lambda: self.done.append(name))


@pytest.fixture
def held() -> Iterator[Held]:
    with PriorityThreads(1).running() as pool:
        found = Held(pool)
        yield found
        found.let_go.set()


def test_live_work_overtakes_all_bulk_work_and_within_a_lane_the_oldest_goes_first(
    held: Held,
) -> None:
    for lane, name in (
        (Lane.BULK, "bulk 1"), (Lane.BULK, "bulk 2"), (Lane.LIVE, "live 1"), (Lane.BULK, "bulk 3"),
        (Lane.LIVE, "live 2"),
    ):  # fmt: skip
        held.ask(lane, name)
    held.let_go.set()
    wait_until(lambda: len(held.done) == 5, "all of it is done")
    assert held.done == ["live 1", "live 2", "bulk 1", "bulk 2", "bulk 3"]


def test_a_result_is_where_it_was_said_to_be() -> None:
    with PriorityThreads(2).running() as pool:
        futures = [pool.submit(Lane.BULK, partial(pow, number, 2)) for number in range(20)]
        assert [future.result(30) for future in futures] == [number**2 for number in range(20)]


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3)])
def test_an_error_is_raised_where_it_is_waited_for_and_the_thread_goes_on(
    error: BaseException,
) -> None:
    def fail() -> None:
        raise error

    with PriorityThreads(1).running() as pool:
        failed = pool.submit(Lane.LIVE, fail)
        assert failed.exception(30) is error
        assert pool.submit(Lane.LIVE, lambda: "sound").result(30) == "sound"


def test_so_many_threads_work_side_by_side() -> None:
    together = threading.Barrier(3)
    with PriorityThreads(3).running() as pool:
        futures = [pool.submit(Lane.BULK, lambda: together.wait(30)) for _ in range(3)]
        assert {future.result(30) for future in futures} == {0, 1, 2}


def test_what_waits_when_they_close_is_still_done() -> None:
    with PriorityThreads(1).running() as pool:
        held = Held(pool)
        for lane, name in ((Lane.BULK, "bulk"), (Lane.LIVE, "live")):
            held.ask(lane, name)
        closing = threading.Thread(target=_let_go_when_closing, args=(pool, held))
        closing.start()
    closing.join()
    assert held.done == ["live", "bulk"]
    assert not any(thread.is_alive() for thread in pool._threads)


def _let_go_when_closing(pool: PriorityThreads, held: Held) -> None:
    wait_until(lambda: pool._is_closing, "the pool is closing")
    held.let_go.set()


def test_work_that_nobody_waits_for_any_more_is_not_begun(held: Held) -> None:
    future = held.pool.submit(Lane.BULK, lambda: held.done.append("cancelled"))
    held.ask(Lane.BULK, "wanted")
    assert future.cancel()
    held.let_go.set()
    wait_until(lambda: bool(held.done), "the thread goes on")
    assert held.done == ["wanted"]


def test_some_threads_keep_to_live_work_while_the_others_are_busy() -> None:
    with PriorityThreads(1, live_threads=1).running() as pool:
        held = Held(pool)
        held.ask(Lane.BULK, "bulk")
        held.ask(Lane.QUARANTINE, "quarantine")
        held.ask(Lane.LIVE, "live 1")
        held.ask(Lane.LIVE, "live 2")
        wait_until(lambda: len(held.done) == 2, "what is live is done")
        assert held.done == ["live 1", "live 2"]
        held.let_go.set()
        wait_until(lambda: len(held.done) == 4, "the rest is done")
        assert held.done[2:] == ["quarantine", "bulk"]
