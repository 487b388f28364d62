"""Models that cannot be loaded, for now or at all: their batches and reports."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from fakesweep.diagnosis import Reason, blockers_of
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.batches.publishing import take_recorded
from fakesweep.schema.ledger.registry.model_errors import model_troubles
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.ledger.reports.stalls import movement
from fakesweep.schema.ledger.scans.control import begin_retry, retry_failures
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.process.startup import open_work
from fakesweep.workers.scoring import model_cache
from tests.support.batches import publish_scan, result_rows, uris_of
from tests.support.photographs import folder_of_photographs
from tests.support.worker import batch_states

BUNDLED = Path(__file__).parents[2] / "workers/checkpoints/vit-tiny-cifake"


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url="redis://127.0.0.1:1/0",
        device="cpu",
        loaders=1,
        file_roots=(Path("/"),),
    )


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(BUNDLED, folder)
    return folder


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cache, "FIRST_PAUSE_SECONDS", 0.0)


def published_again(engine: Engine, message: BatchMessage) -> BatchMessage:
    with engine.begin() as connection:
        [again] = take_recorded(connection, message.lane, 10)
    return again


def _retry(engine: Engine, scan_id: int) -> None:
    with engine.begin() as connection:
        asked_at = begin_retry(connection, scan_id)
        retry_failures(connection, scan_id, [FailureCode.MODEL_UNAVAILABLE], 256, asked_at)


def test_a_batch_whose_model_is_away_for_a_moment_is_handed_back_and_classified_later(
    settings: Settings, engine: Engine, tmp_path: Path, checkpoint: Path
) -> None:
    key = str(checkpoint)
    uris = uris_of(folder_of_photographs(tmp_path / "in", 3))
    [message] = publish_scan(engine, uris, (key,))
    weights = checkpoint / "model.safetensors"
    weights.rename(tmp_path / "away")
    with open_work(settings) as work:
        run_batch(message, work)
        assert result_rows(engine, message.scan_id) == [], "no image is to blame"
        assert batch_states(engine)[message.batch_id] == "recorded"
        with engine.connect() as connection:
            now = progress(connection, message.scan_id)
            found = movement(connection, message.scan_id, within_seconds=60)
            [trouble] = model_troubles(connection, now.models)
        assert (trouble.model, trouble.tries) == (key, 1)
        assert "has no weights" in trouble.reason
        waits = {wait.reason: wait.said for wait in blockers_of(now, found, settings, [trouble])}
        assert "next try" in waits[Reason.NO_MODEL]
        assert key in waits[Reason.NO_MODEL]
        (tmp_path / "away").rename(weights)
        run_batch(published_again(engine, message), work)
        rows = result_rows(engine, message.scan_id)
        assert {row["status"] for row in rows} == {"classified"}
        with engine.connect() as connection:
            assert model_troubles(connection, now.models) == []


def test_failures_of_a_refused_model_run_again_by_a_fresh_try(
    settings: Settings, engine: Engine, tmp_path: Path, checkpoint: Path
) -> None:
    uris = uris_of(folder_of_photographs(tmp_path / "in", 3))
    [message] = publish_scan(engine, uris, (str(checkpoint),))
    config = checkpoint / "config.json"
    sound = config.read_text()
    config.write_text(json.dumps(json.loads(sound) | {"id2label": {"0": "cat", "1": "dog"}}))
    with open_work(settings) as work:
        run_batch(message, work)
        codes = [row["failure_code"] for row in result_rows(engine, message.scan_id)]
        assert codes == ["model_unavailable"] * 3
        config.write_text(sound)
        _retry(engine, message.scan_id)
        run_batch(published_again(engine, message), work)
    assert {row["status"] for row in result_rows(engine, message.scan_id)} == {"classified"}


def test_of_two_models_one_that_is_missing_costs_no_verdict_of_the_other(
    settings: Settings, engine: Engine, tmp_path: Path, checkpoint: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(BUNDLED, broken)
    (broken / "model.safetensors").write_bytes(b"no weights at all")
    folder = folder_of_photographs(tmp_path / "in", 3)
    (folder / "not a picture.jpg").write_bytes(b"text")
    [message] = publish_scan(engine, uris_of(folder), (str(checkpoint), str(broken)))
    with open_work(settings) as work:
        run_batch(message, work)
        rows = result_rows(engine, message.scan_id)
        [bad] = [row for row in rows if row["failure_code"] != "model_unavailable"]
        assert (bad["failure_code"], bad["model"]) == ("not_an_image", None)
        rows.remove(bad)
        assert [row["model"] for row in rows] == [str(checkpoint)] * 3
        assert all(row["verdict"] for row in rows)
        assert all(str(broken) in str(row["failure_message"]) for row in rows)
        first = {row["uri"]: row["p_fake"] for row in rows}
        shutil.copy(BUNDLED / "model.safetensors", broken)
        _retry(engine, message.scan_id)
        assert [row["uri"] for row in result_rows(engine, message.scan_id)] == [bad["uri"]]
        run_batch(published_again(engine, message), work)
    rows = result_rows(engine, message.scan_id)
    judged = [row for row in rows if row["model"] is not None]
    assert sorted(str(row["model"]) for row in judged) == sorted([str(checkpoint), str(broken)] * 3)
    assert {row["failure_code"] for row in judged} == {None}
    assert {row["uri"]: row["p_fake"] for row in judged if row["model"] == str(checkpoint)} == first


def test_a_batch_from_quarantine_waits_for_no_load_while_nothing_else_is_worked_on(
    settings: Settings, engine: Engine, tmp_path: Path, checkpoint: Path
) -> None:
    uris = uris_of(folder_of_photographs(tmp_path / "in", 1))
    [message] = publish_scan(engine, uris, (str(checkpoint),))
    with engine.begin() as connection:
        connection.execute(text("UPDATE ledger.batches SET lane = 'quarantine'"))
    alone = replace(message, lane=Lane.QUARANTINE)
    with open_work(settings) as work:
        run_batch(alone, work)
        assert batch_states(engine)[message.batch_id] == "recorded"
        work.model_cache.model(str(checkpoint))
        run_batch(published_again(engine, alone), work)
    assert batch_states(engine)[message.batch_id] == "done"


def test_a_worker_for_one_scan_leaves_the_batches_of_others_to_others(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    uris = uris_of(folder_of_photographs(tmp_path / "in", 2))
    [other] = publish_scan(engine, uris, ("no-such-model",))
    [own] = publish_scan(engine, uris)
    with open_work(settings, only_scan_id=own.scan_id) as work:
        run_batch(other, work)
        run_batch(own, work)
    assert batch_states(engine) == {other.batch_id: "recorded", own.batch_id: "done"}
    assert result_rows(engine, other.scan_id) == []
