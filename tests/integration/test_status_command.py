"""`fakesweep status`: how fast a scan is, how long it will take, and what that costs."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from fakesweep.cli import run as run_command
from fakesweep.exits import Exit
from fakesweep.schema.ledger.batches.deferrals import set_aside
from fakesweep.schema.ledger.registry.processes import register_worker
from tests.integration.ledger.rows import (
    WORKER,
    ask,
    claimed,
    end,
    failed,
    record,
    run,
    store,
    take,
)

Status = Callable[..., str]


@pytest.fixture
def status(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Status:
    """`fakesweep status …` with an hour of a worker at 1.50 EUR; returns what it printed."""
    monkeypatch.setenv("FAKESWEEP_DATABASE_URL", database_url)
    monkeypatch.setenv("FAKESWEEP_WORKER_HOUR_PRICE", "1.50")
    monkeypatch.setenv("FAKESWEEP_CURRENCY", "EUR")

    def call(*words: str) -> str:
        assert run_command(["status", *words]) == Exit.DONE
        return capsys.readouterr().out

    return call


@pytest.fixture
def half_done(engine: Engine) -> int:
    """A scan whose live worker stored ten images of twenty within the last minute."""
    with engine.begin() as connection:
        register_worker(connection, WORKER, hostname="h", pid=1, device="cpu", version="0")
    scan_id = ask(engine)
    for batch in range(2):
        record(engine, scan_id, [f"s3://photos/{batch}/{n}" for n in range(10)])
    end(engine, scan_id)
    first, second = take(engine)
    _store(engine, first.batch_id, first.images)
    claimed(engine, second.batch_id)
    run(engine, "UPDATE ledger.batches SET published_at = now() - interval '10 minutes'")
    return scan_id


def _store(engine: Engine, batch_id: int, images: Any) -> None:
    assert store(engine, claimed(engine, batch_id), [failed(image) for image in images])


def test_it_tells_rate_time_left_and_cost(status: Status, half_done: int) -> None:
    said = json.loads(status(str(half_done), "--json"))
    rate = 10 / 60  # images in the last minute
    assert said["images_per_second"] == pytest.approx(rate, abs=0.01)
    assert said["seconds_left"] == pytest.approx(10 / rate, abs=0.1)
    assert said["images_per_second_overall"] > 0
    cost = said["cost"]
    assert (cost["workers"], cost["hour_price"], cost["currency"]) == (1, 1.5, "EUR")
    per_million = 1_000_000 / said["images_per_second"] / 3_600 * 1.5
    assert cost["per_million"] == pytest.approx(per_million)
    lines = status(str(half_done)).splitlines()
    assert any(line.startswith("rate       0.2 images/s in the last minute, ") for line in lines)
    assert "left       60 s" in lines
    assert (
        f"cost       {per_million:.2f} EUR per million images (1 worker at 1.50 EUR an hour)"
        in lines
    )
    [row] = [line.split() for line in status().splitlines()[1:] if "running" in line]
    assert row[row.index("running") + 6] == "0.2"


def test_watching_tells_them_too_until_the_end(
    engine: Engine, status: Status, half_done: int
) -> None:
    run(engine, "UPDATE ledger.batches SET state = 'recorded', worker_id = NULL "
                "WHERE state = 'running'")  # fmt: skip
    [left] = take(engine)
    _store(engine, left.batch_id, left.images)
    [line] = status(str(half_done), "--watch").splitlines()
    assert f"scan {half_done} finished: submitted 20 = " in line
    assert " images/s; " in line
    assert line.endswith("EUR per million images (1 worker at 1.50 EUR an hour)")
    said = json.loads(status(str(half_done), "--watch", "--json"))
    hours = 1_000_000 / said["images_per_second_overall"] / 3_600
    assert said["cost"]["per_million"] == pytest.approx(hours * 1.5, rel=0.01)


def test_without_a_price_no_cost_is_told(
    status: Status, half_done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAKESWEEP_WORKER_HOUR_PRICE")
    assert json.loads(status(str(half_done), "--json"))["cost"] is None
    assert "\ncost" not in status(str(half_done))


def test_batches_that_cannot_be_stored_are_shown_with_the_reason(
    status: Status, engine: Engine, half_done: int
) -> None:
    assert "troubles" not in status()
    with engine.begin() as connection:
        assert set_aside(connection, 2, "permission denied for table outcomes")
    said = "1 batch could not be stored or brought back (permission denied for table outcomes)"
    assert said in " ".join(status().split())
    assert said in " ".join(status(str(half_done)).split())
    assert json.loads(status("--json"))["troubled_batches"] == 1
    assert "set_aside" in json.loads(status(str(half_done), "--json"))["waiting"]
