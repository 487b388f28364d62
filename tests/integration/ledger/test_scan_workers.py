"""The number of a scan's workers, for its cost."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from sqlalchemy import Engine

from fakesweep.schema.ledger.registry.processes import register_worker, retire_worker
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.ledger.reports.scan_workers import scan_workers
from tests.integration.ledger.rows import ask, claimed, end, failed, record, run, store, take


def _workers(engine: Engine, count: int) -> list[UUID]:
    made = [uuid4() for _ in range(count)]
    with engine.begin() as connection:
        for number, worker in enumerate(made):
            register_worker(connection, worker, hostname="h", pid=number, device="cpu", version="0")
    return made


def _scan(engine: Engine, workers: Sequence[UUID], done: int) -> int:
    """Return a scan with one batch for each worker; the first `done` have stored theirs."""
    scan_id = ask(engine)
    for worker in workers:
        record(engine, scan_id, [f"s3://photos/{scan_id}/{worker}"])
    end(engine, scan_id)
    for place, (message, worker) in enumerate(zip(take(engine), workers, strict=True)):
        held = claimed(engine, message.batch_id, worker)
        if place < done:
            assert store(engine, held, [failed(message.images[0])], worker)
    return scan_id


def _count(engine: Engine, scan_id: int) -> int:
    with engine.connect() as connection:
        return scan_workers(connection, progress(connection, scan_id), within_seconds=30)


def test_a_running_scan_has_the_workers_that_work_on_it(engine: Engine) -> None:
    first, second, third, elsewhere = _workers(engine, 4)
    scan_id = _scan(engine, [first, second, third], done=2)
    _scan(engine, [elsewhere], done=0)
    assert _count(engine, scan_id) == 3
    with engine.begin() as connection:
        retire_worker(connection, first)
    assert _count(engine, scan_id) == 2
    run(engine, "UPDATE ledger.workers SET seen_at = now() - interval '1 minute' "
                "WHERE worker_id = :w", w=third)  # fmt: skip
    assert _count(engine, scan_id) == 1
    run(engine, "UPDATE ledger.batches SET finished_at = finished_at - interval '2 minutes'")
    assert _count(engine, scan_id) == 0


def test_a_scan_that_has_ended_had_all_that_ever_worked_on_it(engine: Engine) -> None:
    workers = _workers(engine, 2)
    scan_id = _scan(engine, workers, done=2)
    with engine.begin() as connection:
        for worker in workers:
            retire_worker(connection, worker)
    assert _count(engine, scan_id) == 2
