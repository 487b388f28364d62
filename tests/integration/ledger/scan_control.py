"""Control of scans for tests: actions, and the state after them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine

from fakesweep.schema.ledger.reports.progress import progress
from tests.integration.ledger.rows import ask, claimed, end, failed, record, store, take, value
from tests.support.servers import wait_until

T = TypeVar("T")


def steer(engine: Engine, action: Callable[[Connection, int], T], scan_id: int) -> T:
    with engine.begin() as connection:
        return action(connection, scan_id)


def state_of(engine: Engine, scan_id: int) -> str:
    """Return a scan's state, after checking that its counts add up."""
    with engine.connect() as connection:
        now = progress(connection, scan_id)
    images = value(engine, "SELECT count(*) FROM ledger.images WHERE scan_id = :s", s=scan_id)
    ended = value(engine, "SELECT count(*) FROM ledger.outcomes WHERE scan_id = :s", s=scan_id)
    assert (now.submitted, now.ended, now.pending) == (images, ended, images - ended)
    return now.state


def scan_with_four_batches(engine: Engine) -> int:
    """Return a scan with a batch done, one running, one published and one recorded."""
    scan_id = ask(engine)
    for number in range(4):
        record(engine, scan_id, [f"s3://photos/{number}/{n}" for n in range(2)])
    end(engine, scan_id)
    first, second, _ = take(engine, window=3)
    store(engine, claimed(engine, first.batch_id), [failed(image) for image in first.images])
    claimed(engine, second.batch_id)
    return scan_id


def in_background(engine: Engine, threads: ThreadPoolExecutor, work: Callable[[], T]) -> Future[T]:
    """Start work that waits for a held lock; return when it waits."""
    waiting = threads.submit(work)
    wait_until(
        lambda: bool(value(engine, "SELECT count(*) FROM pg_locks WHERE NOT granted")), "it waits"
    )
    return waiting
