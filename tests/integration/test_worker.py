"""Batches through the pipeline, and through real worker processes."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from celery import Celery
from sqlalchemy import Engine, text

from fakesweep.producer.publisher import Publisher
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.queues import CLASSIFY_BATCH, celery_settings
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import from_path
from fakesweep.schema.words import Lane
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.process.startup import open_work
from fakesweep.workers.sandbox.decode import decode
from tests.support.batches import publish_scan, result_rows, uris_of
from tests.support.photographs import folder_of_photographs, photograph
from tests.support.servers import wait_until
from tests.support.web_server import Answer, Request, web_server


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url=broker_url,
        device="cpu",
        device_batch_images=4,
        fetch_attempts=1,
        allow_networks=(ip_network("127.0.0.0/8"),),
        file_roots=(Path("/"),),
    )


@pytest.fixture
def work(settings: Settings) -> Iterator[Work]:
    with open_work(settings) as opened:
        yield opened


def test_every_image_of_a_batch_ends_as_a_verdict_or_a_failure_of_its_own(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    folder = folder_of_photographs(tmp_path, 6)
    (folder / "0001.jpg").write_bytes(b"")
    (folder / "0002.jpg").write_bytes(b"this is no image at all")
    (folder / "0003.jpg").write_bytes(photograph(3)[:-200])
    uris = [*uris_of(folder), from_path(folder / "missing.jpg")]
    [message] = publish_scan(engine, uris)
    run_batch(message, work)
    codes = [row["failure_code"] for row in result_rows(engine, message.scan_id)]
    assert codes == [None, "empty", "not_an_image", "corrupt", None, None, "not_found"]
    with engine.connect() as connection:
        done = progress(connection, message.scan_id)
    assert (done.submitted, done.classified, done.failed, done.pending) == (7, 3, 4, 0)


def test_a_content_seen_before_is_reused_and_seen_twice_in_one_batch_classified_once(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 2), ("c", 1), ("d", 1), ("e", 2), ("f", 3)):
        (tmp_path / f"{name}.jpg").write_bytes(photograph(seed))
    [first] = publish_scan(engine, uris_of(tmp_path))
    run_batch(first, work)
    statuses = [row["status"] for row in result_rows(engine, first.scan_id)]
    assert statuses == ["classified", "classified", "reused", "reused", "reused", "classified"]
    [second] = publish_scan(engine, uris_of(tmp_path))
    run_batch(second, work)
    again = result_rows(engine, second.scan_id)
    assert {row["status"] for row in again} == {"reused"}
    before = result_rows(engine, first.scan_id)
    assert [row["p_fake"] for row in again] == [row["p_fake"] for row in before]
    assert all(row["width"] == 48 and row["scores"] for row in again)


def test_a_message_that_names_an_image_twice_gives_no_image_the_score_of_another(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    uris = uris_of(folder_of_photographs(tmp_path, 3))
    [twice] = publish_scan(engine, uris)
    first = twice.images[0]
    run_batch(replace(twice, images=(first, *twice.images)), work)
    found = result_rows(engine, twice.scan_id)
    contents = [hashlib.sha256(photograph(seed)).hexdigest() for seed in range(3)]
    assert [row["sha256"] for row in found] == contents
    _, model = work.model_cache.model("vit-tiny-cifake")
    decoded = [decode(photograph(seed), 10_000).pixels for seed in range(3)]
    expected = model.classify([model.prepare(pixels) for pixels in decoded])
    labels = model.identity.labels
    scores = [labels.p_fake(said) for said in expected if isinstance(said, tuple)]
    assert [row["p_fake"] for row in found] == pytest.approx(scores, abs=1e-4)


def test_several_models_score_each_image_each(work: Work, engine: Engine, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    model_folder = Path(__file__).parents[2] / "workers/checkpoints/vit-tiny-cifake"
    copy.mkdir()
    for file in model_folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    folder = folder_of_photographs(tmp_path / "in", 5)
    [message] = publish_scan(engine, uris_of(folder), ("vit-tiny-cifake", str(copy)))
    run_batch(message, work)
    found = result_rows(engine, message.scan_id)
    assert len(found) == 10
    assert {row["model"] for row in found} == {"vit-tiny-cifake", str(copy)}
    by_image = {row["uri"]: row["p_fake"] for row in found[:2]}
    assert len(by_image) == 1, "both models' rows of one image stand together"


def test_a_model_that_cannot_be_loaded_fails_the_images_with_the_reason(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    folder = folder_of_photographs(tmp_path / "in", 3)
    [message] = publish_scan(engine, uris_of(folder), ("/no/such/model",))
    run_batch(message, work)
    found = result_rows(engine, message.scan_id)
    assert {row["failure_code"] for row in found} == {"model_unavailable"}
    assert "/no/such/model" in str(found[0]["failure_message"])


def test_a_batch_that_is_done_is_passed_over(work: Work, engine: Engine, tmp_path: Path) -> None:
    [message] = publish_scan(engine, uris_of(folder_of_photographs(tmp_path / "in", 3)))
    run_batch(message, work)
    before = result_rows(engine, message.scan_id)
    run_batch(message, work)
    assert result_rows(engine, message.scan_id) == before


def test_batches_of_many_threads_share_one_load_of_the_model(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    uris = uris_of(folder_of_photographs(tmp_path / "in", 24))
    messages = publish_scan(engine, uris, size=3)
    threads = [threading.Thread(target=run_batch, args=(message, work)) for message in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with engine.connect() as connection:
        assert progress(connection, messages[0].scan_id).classified == 24
        assert connection.execute(text("SELECT count(*) FROM ledger.model_loads")).scalar() == 1


def test_a_held_batch_keeps_its_lease_while_it_is_worked_on(
    settings: Settings, engine: Engine
) -> None:
    short = settings.model_copy(update={"lease_seconds": 0.4})
    leases: list[object] = []

    def lease() -> object:
        with engine.connect() as connection:
            return connection.execute(text("SELECT lease_until FROM ledger.batches")).scalar()

    def slow_answer(_: Request) -> Answer:
        leases.append(lease())
        wait_until(lambda: lease() not in leases, "the lease is renewed")
        return Answer(body=photograph(1))

    with web_server() as server, open_work(short) as work:
        server.answer = slow_answer
        [message] = publish_scan(engine, [f"{server.url}/slow.jpg"])
        run_batch(message, work)
    assert len(leases) == 1
    assert result_rows(engine, message.scan_id)[0]["status"] == "classified"


@contextmanager
def worker_process(
    settings: Settings, log: Path, **extra: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker by Celery's own command."""
    environment = {
        **os.environ,
        "FAKESWEEP_DATABASE_URL": settings.database_url or "",
        "FAKESWEEP_BROKER_URL": settings.broker_url or "",
        "FAKESWEEP_DEVICE": "cpu",
        "FAKESWEEP_FILE_ROOTS": "/",
        **extra,
    }
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "fakesweep.workers.app", "worker"],
            env=environment, stdout=written, stderr=written,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def test_a_celery_worker_process_classifies_loads_once_and_leaves_on_sigterm(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    uris = uris_of(folder_of_photographs(tmp_path / "in", 40))
    messages = publish_scan(engine, uris, size=5)
    publisher = Publisher(settings)
    for message in messages:
        publisher.publish(message)
    log = tmp_path / "worker.log"
    with worker_process(settings, log, FAKESWEEP_MODELS="vit-tiny-cifake") as process:

        def finished() -> bool:
            with engine.connect() as connection:
                return progress(connection, messages[0].scan_id).state == "finished"

        wait_until(finished, f"the scan is finished: {log.read_text()[-2000:]}", 90)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    publisher.close()
    with engine.connect() as connection:
        assert progress(connection, messages[0].scan_id).classified == 40
        loads, stopped = connection.execute(
            text("""SELECT count(*), count(stopped_at)
                    FROM ledger.model_loads JOIN ledger.workers USING (worker_id)""")
        ).one()
    assert (loads, stopped) == (1, 1)
    assert log.read_text().count("model_loaded") == 1


def test_a_message_that_cannot_be_read_does_not_stop_the_worker(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    celery = Celery("garbage", set_as_current=False)
    celery.conf.update(celery_settings(settings))
    for body in ("garbage", {"version": 99}, {"version": 1, "batch_id": "x"}, None):
        celery.send_task(CLASSIFY_BATCH, args=[body], queue="bulk")
    celery.send_task("no.such.task", queue="bulk")
    [message] = publish_scan(engine, uris_of(folder_of_photographs(tmp_path / "in", 3)))
    publisher = Publisher(settings)
    publisher.publish(message)
    log = tmp_path / "worker.log"
    with worker_process(settings, log):

        def finished() -> bool:
            with engine.connect() as connection:
                return progress(connection, message.scan_id).state == "finished"

        wait_until(finished, "the batch behind the garbage is done", 90)
        wait_until(lambda: not publisher.waiting_batches(Lane.BULK), "nothing loops in the queue")
    celery.close()
    publisher.close()
    assert log.read_text().count("message_unreadable") == 5


def test_a_worker_whose_model_cannot_be_loaded_ends_with_one_line(
    settings: Settings, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    with worker_process(settings, log, FAKESWEEP_MODELS="vit-tiny-cifak") as process:
        assert process.wait(60) == 1
    assert "did you mean vit-tiny-cifake" in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("watched", [False, True])
def test_events_and_remote_control_are_there_only_where_the_setting_asks_for_them(
    settings: Settings, tmp_path: Path, *, watched: bool
) -> None:
    inspector = Celery("inspector", broker=settings.broker_url, set_as_current=False)
    log = tmp_path / "worker.log"
    with worker_process(settings, log, FAKESWEEP_CELERY_EVENTS=str(watched)):
        wait_until(lambda: "worker_ready" in log.read_text(), "the worker is ready", 60)
        if watched:
            wait_until(lambda: bool(inspector.control.ping(timeout=0.5)), "the worker answers")
            [[name]] = inspector.control.ping(timeout=2, limit=1) or [{}]
            [ready] = [line for line in log.read_text().splitlines() if "worker_ready" in line]
            host, _, number = name.removeprefix("celery@").rpartition("-")
            assert host == socket.gethostname()
            assert f"worker={number}" in ready or f'"worker": "{number}' in ready
        else:
            assert inspector.control.ping(timeout=2) == []
    inspector.close()


def test_the_pipeline_can_be_imported_without_celery() -> None:
    code = "import sys, fakesweep.workers.pipeline.batch; sys.exit('celery' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
