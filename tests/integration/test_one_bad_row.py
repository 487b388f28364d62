"""A row that PostgreSQL refuses to change stops no job of a producer and no other row."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fakesweep.producer.outputs import writer
from fakesweep.producer.outputs.writer import write_outputs
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.schedules.firing import fire_due
from fakesweep.producer.service import serve
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.settings import Settings
from tests.integration.deliveries import add, judge, states, wait_for_states
from tests.integration.ledger.rows import ask, claimed, record, run, take, tuples, value
from tests.integration.ledger.schedule_rows import add as add_schedule
from tests.integration.ledger.schedule_rows import make_due, producer_on
from tests.integration.test_outputs import finish_batches, output_scan
from tests.support.servers import wait_until
from tests.support.webhook_receiver import Receiver
from tests.support.webhook_sender import delivering


@contextmanager
def refused(engine: Engine, table: str, condition: str) -> Iterator[None]:
    """Refuse changes of some rows of a table, like a violated constraint."""
    run(
        engine,
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'a bad row' USING ERRCODE = '23514'; END $$",
    )
    run(
        engine,
        f"CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH ROW WHEN ({condition}) "
        "EXECUTE FUNCTION public.refuse()",
    )
    yield
    run(engine, "DROP FUNCTION public.refuse CASCADE")


@pytest.fixture
def producer(database_url: str, broker_url: str) -> Iterator[Producer]:
    settings = Settings(database_url=database_url, broker_url=broker_url)
    with open_producer(settings, read_catalogue(None)) as opened:
        yield opened


def test_a_batch_that_cannot_be_brought_back_ends_no_producer(
    engine: Engine, producer: Producer
) -> None:
    for number in range(3):
        record(engine, ask(engine), [f"s3://photos/{number}"])
    for message in take(engine):
        claimed(engine, message.batch_id)
    run(engine, "UPDATE ledger.batches SET lease_until = now() - interval '1 second'")
    stop = threading.Event()
    asked = "SELECT batch_id, state::text FROM ledger.batches ORDER BY batch_id"
    with refused(engine, "ledger.batches", "OLD.batch_id = 2 AND NEW.state = 'recorded'"):
        with ThreadPoolExecutor(1) as thread:
            serving = thread.submit(serve, producer, stop)
            try:
                wait_until(
                    lambda: (
                        tuples(engine, asked)
                        == [(1, "published"), (2, "set_aside"), (3, "published")]
                    ),
                    "the others come back",
                    30,
                )
                assert not serving.done()
            finally:
                stop.set()
        serving.result(30)
    assert value(engine, "SELECT reason FROM batch_troubles") == "a bad row"


def test_an_output_that_cannot_be_recorded_keeps_no_other_from_being_written(
    engine: Engine, producer: Producer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PAUSE_SECONDS", 0.01)
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()
        output_scan(engine, str(tmp_path / name), 1)
    finish_batches(engine)
    stop = threading.Event()
    with refused(engine, "ledger.output_parts", "OLD.scan_id = 1"), ThreadPoolExecutor(1) as thread:
        writes = thread.submit(write_outputs, producer, stop)
        try:
            wait_until((tmp_path / "good" / "manifest-summary.json").exists, "the other is whole")
            assert not writes.done()
        finally:
            stop.set()
        writes.result(30)
    troubles = tuples(engine, "SELECT scan_id, trouble FROM outputs ORDER BY scan_id")
    assert troubles == [(1, "a bad row"), (2, None)]


def test_a_schedule_that_cannot_be_moved_on_keeps_no_other_from_firing(
    engine: Engine,
) -> None:
    keeper = producer_on(engine)
    for name in ("bad", "good"):
        add_schedule(keeper, name)
        make_due(engine, name=name)
    left_out: set[int] = set()
    with refused(engine, "ledger.schedules", "OLD.schedule_id = 1"):
        assert fire_due(keeper, left_out) == 1
    assert left_out == {1}
    assert fire_due(keeper) == 1


def test_a_delivery_whose_outcome_cannot_be_recorded_blocks_no_other(
    engine: Engine, database_url: str, receiver: Receiver
) -> None:
    add(engine, receiver.url)
    judge(engine, 4)
    bad = "OLD.delivery_id = 2 AND NEW.delivered_at IS NOT NULL"
    with refused(engine, "ledger.webhook_deliveries", bad), delivering(database_url):
        wait_until(lambda: states(engine).get("delivered") == 3, "the others are told", 20)
    with delivering(database_url):
        wait_for_states(engine, delivered=4)
    assert len(set(receiver.ids)) == 4
