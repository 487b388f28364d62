"""Throughput of workers, written to the ledger and read back."""

from datetime import datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.batches.leases import Claim
from fakesweep.schema.ledger.registry.processes import record_stages, register_worker, retire_worker
from fakesweep.schema.ledger.reports.workers import (
    WorkerCounts,
    WorkerReport,
    counted,
    counted_since,
    live_workers,
)
from fakesweep.schema.telemetry.throughput import Counts, Stage, StageCounts, report
from tests.integration.ledger.rows import (
    add_model,
    ask,
    claimed,
    end,
    failed,
    record,
    run,
    store,
    take,
    tuples,
    value,
)


def counts(seconds: float, *, decode_seconds: float = 0.0, images: int = 0) -> Counts:
    """Return the counts of a worker with two loaders and two batches in flight."""
    places = dict.fromkeys(Stage, 2) | {Stage.DEVICE: 1}
    busy = {Stage.DECODE: decode_seconds}
    return Counts(
        seconds,
        {
            stage: StageCounts(images, busy.get(stage, 0.0), places[stage] * seconds)
            for stage in Stage
        },
    )


def start_worker(engine: Engine, hostname: str = "h") -> UUID:
    worker_id = uuid4()
    with engine.begin() as connection:
        register_worker(
            connection, worker_id, hostname=hostname, pid=7, device="cpu", version="0.1"
        )
    return worker_id


def tell(engine: Engine, worker_id: UUID, total: Counts, lately: Counts | None = None) -> None:
    with engine.begin() as connection:
        record_stages(connection, worker_id, report(lately or total), total)


def workers(engine: Engine) -> list[WorkerReport]:
    with engine.connect() as connection:
        return live_workers(connection, 60.0)


def now(engine: Engine) -> WorkerCounts:
    with engine.connect() as connection:
        return counted(connection)


def since(engine: Engine, scan_id: int, before: WorkerCounts) -> tuple[Counts | None, bool]:
    with engine.connect() as connection:
        return counted_since(connection, scan_id, before)


class Scan:
    """A scan with one batch of a single image for each worker."""

    def __init__(self, engine: Engine, batches: int) -> None:
        add_model(engine)
        self._engine = engine
        self.scan_id = ask(engine)
        for number in range(batches):
            record(engine, self.scan_id, [f"s3://photos/{number}"])
        end(engine, self.scan_id)
        self._messages = take(engine)

    def claim(self, worker_id: UUID) -> Claim:
        return claimed(self._engine, self._messages[0].batch_id, worker_id)

    def store(self, worker_id: UUID) -> None:
        held = self.claim(worker_id)
        assert store(self._engine, held, [failed(self._messages.pop(0).images[0])], worker_id)


def test_a_worker_without_a_report_is_listed(engine: Engine) -> None:
    worker_id = start_worker(engine)
    (found,) = workers(engine)
    assert (found.worker_id, found.hostname, found.pid, found.device) == (worker_id, "h", 7, "cpu")
    assert (found.images_per_second, found.bottleneck, found.wall) == (None,) * 3
    assert (found.stages, found.measured_at) == (None, None)


def test_a_workers_last_report_is_read_back(engine: Engine) -> None:
    worker_id = start_worker(engine)
    tell(engine, worker_id, counts(10.0, decode_seconds=5.0))
    lately = counts(10.0, decode_seconds=18.0, images=812)
    tell(engine, worker_id, counts(20.0, decode_seconds=23.0, images=812), lately)
    (found,) = workers(engine)
    assert (found.images_per_second, found.bottleneck, found.wall) == (81.2, "decode", "decode")
    assert found.stages == report(lately).stages
    assert isinstance(found.measured_at, datetime)
    assert now(engine).by_worker == {worker_id: counts(20.0, decode_seconds=23.0, images=812)}
    assert tuples(
        engine,
        "SELECT hostname, bottleneck, wall, (stages -> 'decode' ->> 'busy')::float FROM workers",
    ) == [("h", "decode", "decode", 0.9)]


def test_a_worker_of_the_version_before_tells_wall_alone(engine: Engine) -> None:
    tell(engine, start_worker(engine), counts(10.0, decode_seconds=38.0))
    run(engine, "UPDATE ledger.workers SET stages_lately = stages_lately - 'bottleneck'")
    assert tuples(engine, "SELECT bottleneck, wall FROM workers") == [("decode", "decode")]


def test_workers_that_left_or_fell_silent_are_not_live(engine: Engine) -> None:
    left, silent, telling, _ = (start_worker(engine, host) for host in "dcba")
    for worker_id in (left, silent):
        tell(engine, worker_id, counts(1.0))
    with engine.begin() as connection:
        retire_worker(connection, left)
    run(
        engine,
        "UPDATE ledger.workers SET seen_at = now() - interval '61 s', stages_at = NULL "
        "WHERE worker_id IN (:silent, :telling)",
        silent=silent,
        telling=telling,
    )
    tell(engine, telling, counts(1.0))
    assert [found.hostname for found in workers(engine)] == ["a", "b"]


def test_where_the_time_of_a_scan_went_is_what_its_workers_counted_meanwhile(
    engine: Engine,
) -> None:
    mine, late, other = (start_worker(engine) for _ in range(3))
    for worker_id in (mine, other):
        tell(engine, worker_id, counts(1_000.0, decode_seconds=500.0, images=9_000))
    before = now(engine)
    scan = Scan(engine, 2)
    scan.store(mine)
    scan.store(late)
    run(engine, "UPDATE ledger.batches SET finished_at = finished_at + interval '3 s'")
    tell(engine, mine, counts(1_004.0, decode_seconds=507.6, images=9_300))
    tell(engine, late, counts(2.0, decode_seconds=1.6, images=100))
    tell(engine, other, counts(1_004.0, decode_seconds=999.0, images=9_999))
    run(engine, "UPDATE ledger.workers SET stages_at = stages_at + interval '4 s'")
    between, is_settled = since(engine, scan.scan_id, before)
    assert is_settled
    assert between is not None
    said = report(between)
    assert said.seconds == 4.0
    assert said.images_per_second == 100.0
    assert said.stages[Stage.DECODE].busy == pytest.approx((7.6 + 1.6) / 12, abs=0.001)
    assert said.bottleneck == "decode"


def test_an_idle_workers_time_before_the_scan_does_not_count(engine: Engine) -> None:
    worker_id = start_worker(engine)
    tell(engine, worker_id, counts(0.0))
    before = now(engine)
    scan = Scan(engine, 1)
    scan.store(worker_id)
    tell(engine, worker_id, counts(3_600.0, decode_seconds=7.2, images=400))
    run(
        engine,
        "UPDATE ledger.workers SET stages_at = CAST(:at AS timestamptz) + interval '4 s'",
        at=before.at,
    )
    between, _ = since(engine, scan.scan_id, before)
    assert between is not None
    assert report(between).stages[Stage.DECODE].busy == pytest.approx(0.9)
    assert report(between).images_per_second == 100.0


def test_until_a_worker_has_counted_what_it_stored_the_counts_are_not_settled(
    engine: Engine,
) -> None:
    worker_id = start_worker(engine)
    before = now(engine)
    scan = Scan(engine, 1)
    tell(engine, worker_id, counts(1.0, images=1))
    scan.store(worker_id)
    assert since(engine, scan.scan_id, before)[1] is False
    tell(engine, worker_id, counts(1.0, images=1))
    assert since(engine, scan.scan_id, before)[1] is True
    run(engine, "UPDATE ledger.workers SET stages_at = stages_at - interval '1 hour'")
    assert since(engine, scan.scan_id, before)[1] is False
    with engine.begin() as connection:
        retire_worker(connection, worker_id)
    assert since(engine, scan.scan_id, before)[1] is True


def test_of_a_scan_nobody_told_of_nothing_is_known(engine: Engine) -> None:
    silent, waiting = start_worker(engine), start_worker(engine)
    tell(engine, waiting, counts(5.0))
    before = now(engine)
    scan = Scan(engine, 2)
    scan.store(silent)
    assert since(engine, scan.scan_id, before) == (None, True)
    scan.claim(waiting)
    assert since(engine, scan.scan_id, before) == (None, True)


def test_a_workers_report_is_a_small_row(engine: Engine) -> None:
    worker_id = start_worker(engine)
    long = counts(987_654.321, decode_seconds=123_456.789, images=123_456_789)
    tell(engine, worker_id, long)
    row = "SELECT pg_column_size(stages_lately) + pg_column_size(stages_total) FROM ledger.workers"
    assert value(engine, row) < 2_000
