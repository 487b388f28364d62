"""Batches refused by a healthy PostgreSQL: set aside with the reason, and tried again."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import Engine, text

from fakesweep.schema.ledger.batches.deferrals import try_again
from fakesweep.schema.ledger.batches.outcomes import store_outcomes
from fakesweep.schema.ledger.batches.publishing import take_recorded
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.settings import Settings
from fakesweep.schema.telemetry.heartbeat import Heartbeat, complaint
from fakesweep.schema.words import Lane, Role
from fakesweep.workers.pipeline import batch as pipeline
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.process.heartbeat import look_at
from fakesweep.workers.process.startup import open_work
from tests.support.batches import publish_scan, result_rows, uris_of
from tests.support.photographs import folder_of_photographs
from tests.support.servers import wait_until

REFUSAL_SECONDS = 1.0
Lines = list[Any]


@pytest.fixture
def work(database_url: str, broker_url: str) -> Iterator[Work]:
    settings = Settings(
        database_url=database_url,
        broker_url=broker_url,
        device="cpu",
        loaders=1,
        refusal_seconds=REFUSAL_SECONDS,
        lease_seconds=3.0,
        file_roots=(Path("/"),),
    )
    with open_work(settings) as opened:
        yield opened


@pytest.fixture
def lines() -> Iterator[Lines]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
def message(engine: Engine, tmp_path: Path) -> BatchMessage:
    [published] = publish_scan(engine, uris_of(folder_of_photographs(tmp_path / "in", 3)))
    return published


@contextmanager
def _refused(engine: Engine, code: str, table: str, event: str = "INSERT") -> Iterator[None]:
    """Make PostgreSQL refuse rows of a table with a chosen error code."""
    _run(
        engine,
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'refused by a test' USING ERRCODE = '{code}'; END $$",
        f"CREATE TRIGGER refuse BEFORE {event} ON {table} EXECUTE FUNCTION public.refuse()",
    )
    yield
    _run(engine, "DROP FUNCTION public.refuse CASCADE")


def _run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def _batch(engine: Engine) -> tuple[Any, ...]:
    with engine.connect() as connection:
        asked = "SELECT state, trouble, expiries, strikes FROM ledger.batches"
        return tuple(connection.execute(text(asked)).one())


def _again(engine: Engine) -> BatchMessage:
    """Publish the set-aside batch again."""
    _run(engine, "UPDATE ledger.batches SET try_at = now()")
    with engine.begin() as connection:
        assert try_again(connection) == 1
        [message] = take_recorded(connection, Lane.BULK, 10)
    return message


def _judged(engine: Engine, message: BatchMessage) -> int:
    """Return the number of images with a verdict."""
    return sum(row["verdict"] is not None for row in result_rows(engine, message.scan_id))


def _count(lines: Lines, event: str) -> int:
    return sum(line["event"] == event for line in lines)


@pytest.mark.parametrize("code", ["42501", "42P01", "57014", "55P03"])
def test_a_batch_that_is_refused_for_too_long_is_handed_back_with_the_reason(
    work: Work, engine: Engine, message: BatchMessage, lines: Lines, code: str
) -> None:
    with _refused(engine, code, "ledger.outcomes"):
        run_batch(message, work)
    assert _batch(engine) == ("set_aside", "refused by a test", 0, 0)
    assert work.leases.held == 0
    assert work.ledger_retry.away_since is None
    [said] = [line for line in lines if line["event"] == "batch_set_aside"]
    assert said["reason"] == "refused by a test"
    assert _count(lines, "ledger_away") == 1
    run_batch(_again(engine), work)
    assert _judged(engine, message) == 3
    assert _batch(engine)[:2] == ("done", None)


@pytest.mark.parametrize("code", ["22003", "23505", "23514", "P0001", "XX000"])
def test_a_permanent_refusal_is_handed_back_at_once(
    work: Work, engine: Engine, message: BatchMessage, lines: Lines, code: str
) -> None:
    with _refused(engine, code, "ledger.outcomes"):
        run_batch(message, work)
    assert _batch(engine) == ("set_aside", "refused by a test", 0, 0)
    assert _count(lines, "ledger_away") == 0
    assert _count(lines, "batch_set_aside") == 1
    run_batch(_again(engine), work)
    assert _judged(engine, message) == 3


def test_a_row_that_stands_in_the_way_is_counted_at_the_next_try(
    work: Work, engine: Engine, message: BatchMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_outcomes

    def answered_meanwhile(connection: Any, *rest: Any) -> bool:
        _run(
            engine,
            "INSERT INTO ledger.outcomes (image_id, scan_id, status, failure_code) "
            "SELECT min(image_id), 1, 'failed', 'not_found' FROM ledger.images "
            "ON CONFLICT DO NOTHING",
        )
        return store(connection, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "store_outcomes", answered_meanwhile)
        run_batch(message, work)
    state, trouble, *_ = _batch(engine)
    assert state == "set_aside"
    assert "outcomes_pkey" in trouble
    run_batch(_again(engine), work)
    assert _judged(engine, message) == 2
    assert _batch(engine)[:2] == ("done", None)


def test_a_batch_that_cannot_be_claimed_is_set_aside(
    work: Work, engine: Engine, message: BatchMessage
) -> None:
    _run(engine, "ALTER TABLE ledger.batches ADD CONSTRAINT mine CHECK (state <> 'running')")
    run_batch(message, work)
    state, trouble, *_ = _batch(engine)
    assert state == "set_aside"
    assert '"mine"' in trouble


def test_the_heartbeat_does_not_excuse_what_is_refused(
    work: Work, engine: Engine, message: BatchMessage, lines: Lines
) -> None:
    heartbeat, look = Heartbeat(Role.WORKER), look_at(lambda: work)
    with _refused(engine, "42501", "ledger.outcomes"):
        batch = threading.Thread(target=run_batch, args=(message, work))
        batch.start()
        wait_until(lambda: _count(lines, "ledger_away") > 0, "the store is refused")
        look(heartbeat)
        assert work.leases.held == 1
        batch.join(60)
    assert heartbeat.ledger_away_since is None
    heartbeat.tick()
    assert heartbeat.in_flight == 1
    said = complaint(heartbeat, time.monotonic() + 1.0)
    assert said is not None
    assert "holds 1 batches that have not moved" in said


def test_a_statement_timeout_of_the_server_is_tried_again_and_then_handed_back(
    work: Work, engine: Engine, message: BatchMessage
) -> None:
    with engine.connect() as lock:
        lock.execute(text("LOCK TABLE ledger.outcomes IN ACCESS EXCLUSIVE MODE"))
        _limit(work.engine, "100ms")
        run_batch(message, work)
        lock.rollback()
    _limit(work.engine, "0")
    state, trouble, *_ = _batch(engine)
    assert state == "set_aside"
    assert "statement timeout" in trouble
    run_batch(_again(engine), work)
    assert _judged(engine, message) == 3


@pytest.mark.usefixtures("work")
def test_leases_whose_renewal_is_refused_are_renewed_once_it_is_not(
    engine: Engine, lines: Lines
) -> None:
    """The thread that renews them is one that its process would not outlive."""
    seen = "SELECT seen_at FROM ledger.workers"
    with _refused(engine, "42501", "ledger.workers", "UPDATE"):
        wait_until(lambda: _count(lines, "leases_not_renewed") > 0, "the renewal is refused")
        with engine.connect() as connection:
            before = connection.execute(text(seen)).scalar_one()

    def is_seen() -> bool:
        with engine.connect() as connection:
            return bool(connection.execute(text(seen)).scalar_one() > before)

    wait_until(is_seen, "it gives a sign of life again")


def _limit(engine: Engine, timeout: str) -> None:
    name = engine.url.database
    _run(engine, f"ALTER DATABASE {name} SET statement_timeout = '{timeout}'")
    engine.dispose()
