"""Output writer with folders and S3: kills, full disks and refusals."""

import hashlib
import json
import multiprocessing
import random
import resource
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from fakesweep.producer.outputs import writer as writing
from fakesweep.producer.outputs.destinations import resolve_destination
from fakesweep.producer.outputs.writer import Pass, finish_output, write_output, write_outputs
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.schema.errors import OutputError
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.outputs.parts import add_output, lock_output, output_of, unlock_output
from fakesweep.schema.ledger.scans.control import RETRYABLE, begin_retry, retry_failures
from fakesweep.schema.settings import Settings, read_settings
from tests.integration.ledger.rows import (
    add_model,
    ask,
    claimed,
    content_of,
    end,
    failed,
    judged,
    record,
    run,
    store,
    take,
    tuples,
    value,
)
from tests.integration.ledger.scan_control import steer
from tests.support.servers import S3Server, wait_until

NEVER = threading.Event()


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(database_url=database_url, broker_url=broker_url, fetch_attempts=1)


@pytest.fixture
def producer(settings: Settings) -> Iterator[Producer]:
    with open_producer(settings, read_catalogue(None)) as opened:
        yield opened


@pytest.fixture
def to_s3(settings: Settings, s3: S3Server) -> Iterator[Producer]:
    """A producer that reaches the S3 server, in which there is a bucket `outputs`."""
    s3.make_bucket("outputs")
    reaching = read_settings().model_copy(update=settings.model_dump(exclude_unset=True))
    with open_producer(reaching, read_catalogue(None)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write parts at once, with few lines each."""
    monkeypatch.setattr(writing, "PART_LINES", 5)
    monkeypatch.setattr(writing, "PART_SECONDS", 0.0)
    monkeypatch.setattr(writing, "PAUSE_SECONDS", 0.01)


def output_scan(engine: Engine, place: str, batches: int, images: int = 3) -> int:
    """Return a listed scan with an output, and batches of `images` images each."""
    scan_id = ask(engine)
    destination = resolve_destination(place)
    with engine.begin() as connection:
        add_output(connection, scan_id, destination.place, destination.hostname)
    for number in range(batches):
        record(engine, scan_id, [f"s3://photos/{number}/{n}.jpg" for n in range(images)])
    end(engine, scan_id)
    return scan_id


def finish_batches(engine: Engine, at_most: int = 1_000) -> int:
    """End batches as a worker does: the first image is judged, the others fail."""
    model = add_model(engine)
    messages = take(engine, window=at_most)
    for message in messages:
        held = claimed(engine, message.batch_id)
        first, *others = message.images
        outcomes = [judged(held, first, content_of(first.uri), {model: 0.9})]
        assert store(engine, held, outcomes + [failed(image) for image in others])
    return len(messages)


def lines_in(folder: Path) -> list[dict[str, Any]]:
    """Check the parts against the summary; return all lines in order."""
    summary = json.loads((folder / "manifest-summary.json").read_text())
    lines: list[dict[str, Any]] = []
    for part in summary["parts"]:
        content = (folder / part["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == part["sha256"]
        assert (content.count(b"\n"), len(content)) == (part["lines"], part["size_bytes"])
        lines += map(json.loads, content.splitlines())
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(["manifest-summary.json", *(part["file"] for part in summary["parts"])])
    assert summary["statistics"]["lines"] == len(lines)
    return lines


def images_in(lines: list[dict[str, Any]]) -> Counter[int]:
    return Counter(line["fakesweep-metadata"]["image_id"] for line in lines)


def ended(engine: Engine, scan_id: int) -> Counter[int]:
    sql = "SELECT image_id FROM ledger.outcomes WHERE scan_id = :s"
    return Counter(image_id for (image_id,) in tuples(engine, sql, s=scan_id))


def said_of(engine: Engine, scan_id: int) -> str:
    with engine.connect() as connection:
        report = output_of(connection, scan_id)
    assert report is not None
    return report.said


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def running_writer(producer: Producer) -> Iterator[None]:
    """Run the writer as the service does; it must end on `stop`."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(write_outputs, producer, stop)
        try:
            yield
        finally:
            stop.set()
            working.result(10)


def test_an_output_is_complete_when_its_scan_is(
    producer: Producer, engine: Engine, tmp_path: Path
) -> None:
    scan_id = output_scan(engine, str(tmp_path), batches=4)
    assert write_output(producer, scan_id, NEVER) == Pass.UP_TO_DATE
    assert finish_batches(engine, 2) == 2
    assert not finish_output(producer, scan_id)
    assert list(files_in(tmp_path)) == [tmp_path / "results" / "part-000001.jsonl"]
    finish_batches(engine)
    assert finish_output(producer, scan_id)
    lines = lines_in(tmp_path)
    assert images_in(lines) == ended(engine, scan_id)
    assert [line["source-ref"] for line in lines[::6]] == [
        "s3://photos/0/0.jpg",
        "s3://photos/2/0.jpg",
    ]
    summary = json.loads((tmp_path / "manifest-summary.json").read_text())
    assert summary["state"] == "finished"
    assert summary["statistics"] == {
        "submitted": 12, "classified": 4, "reused": 0, "failed": 8, "pending": 0, "lines": 12,
        "verdicts": {"tiny": {"fake": 4}}, "failures": {"not_found": 8},
    }  # fmt: skip
    assert summary["versions"]["models"] == {"tiny": ["r1"]}
    assert len(summary["errors"]) == 8
    place = f"{tmp_path} on {socket.gethostname()}"
    assert said_of(engine, scan_id) == f"{place}: 12 lines in 2 parts, complete"


def test_an_output_in_s3_is_the_same_as_in_a_folder(
    to_s3: Producer, engine: Engine, s3: S3Server
) -> None:
    scan_id = output_scan(engine, "s3://outputs/a b/é", batches=2)
    finish_batches(engine)
    assert finish_output(to_s3, scan_id)
    folder = s3.root / "outputs" / "a b" / "é"
    assert images_in(lines_in(folder)) == ended(engine, scan_id)


@pytest.mark.parametrize("moment", ["record_written", "read_output_summary", "end_output"])
def test_a_part_cut_before_a_crash_is_written_again_with_the_same_bytes(
    producer: Producer,
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    scan_id = output_scan(engine, str(tmp_path), batches=3)
    finish_batches(engine)

    class Crash(BaseException):
        pass

    def crash(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as broken:
        broken.setattr(writing, moment, crash)
        with pytest.raises(Crash):
            write_output(producer, scan_id, NEVER)
    left = files_in(tmp_path)
    assert left
    assert finish_output(producer, scan_id)
    assert images_in(lines_in(tmp_path)) == ended(engine, scan_id)
    assert left.items() <= files_in(tmp_path).items()


def _write_until_killed(settings: Settings, ready: Any) -> None:
    """Write outputs with random delays, so that a kill can hit any step."""
    writing.PART_LINES = 7
    for step in ("part_rows", "record_written", "make_part"):
        setattr(writing, step, _slowed(getattr(writing, step)))
    with open_producer(settings, read_catalogue(None)) as producer:
        ready.set()
        write_outputs(producer, threading.Event())


def _slowed(step: Callable[..., Any]) -> Callable[..., Any]:
    def slowly(*given: Any, **named: Any) -> Any:
        time.sleep(random.uniform(0, 0.02))
        came = step(*given, **named)
        time.sleep(random.uniform(0, 0.02))
        return came

    return slowly


def test_with_killed_writers_each_image_has_one_line(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    scan_id = output_scan(engine, str(tmp_path), batches=36, images=4)
    unwritten = "SELECT count(*) FROM ledger.output_parts WHERE written_at IS NULL"
    processes = multiprocessing.get_context("fork")
    kills = broken_off = 0
    while finish_batches(engine, at_most=2):
        ready = processes.Event()
        writer = processes.Process(target=_write_until_killed, args=(settings, ready), daemon=True)
        writer.start()
        assert ready.wait(30)
        finish_batches(engine, at_most=1)
        writer.join(random.uniform(0, 0.2))
        writer.kill()
        writer.join()
        kills += writer.exitcode == -signal.SIGKILL
        broken_off += value(engine, unwritten)
    assert kills == 12
    assert broken_off, "no kill came between cutting a part and having written it"
    assert value(engine, "SELECT count(*) FROM ledger.output_parts") > 1
    with open_producer(settings, read_catalogue(None)) as producer:
        assert finish_output(producer, scan_id)
    lines = lines_in(tmp_path)
    assert images_in(lines) == ended(engine, scan_id)
    assert len(lines) == 144


def test_images_that_run_again_get_newer_lines_and_the_summary_counts_those(
    producer: Producer, engine: Engine, tmp_path: Path
) -> None:
    scan_id = output_scan(engine, str(tmp_path), batches=2)
    finish_batches(engine)
    assert finish_output(producer, scan_id)
    asked_at = steer(engine, begin_retry, scan_id)
    with engine.begin() as connection:
        assert retry_failures(connection, scan_id, RETRYABLE, 1_000, asked_at) == 4
    assert not finish_output(producer, scan_id)
    finish_batches(engine)
    assert finish_output(producer, scan_id)
    lines = lines_in(tmp_path)
    assert sorted(images_in(lines).values()) == [1, 1, 2, 2, 2, 2]
    last = {line["fakesweep-metadata"]["image_id"]: line for line in lines}
    failures = [one for one in last.values() if not one["fakesweep"]]
    statistics = json.loads((tmp_path / "manifest-summary.json").read_text())["statistics"]
    assert (len(last), len(failures)) == (statistics["submitted"], statistics["failed"]) == (6, 3)
    assert statistics["lines"] == 10


def test_an_unwritable_output_is_retried_and_blocks_no_other(
    producer: Producer, engine: Engine, tmp_path: Path
) -> None:
    gone, well = tmp_path / "gone", tmp_path / "well"
    well.mkdir()
    troubled = output_scan(engine, str(gone), batches=2)
    other = output_scan(engine, str(well), batches=2)
    finish_batches(engine)
    with running_writer(producer):
        wait_until(lambda: "complete" in said_of(engine, other), "the other output is complete")
        wait_until(lambda: "No such file" in said_of(engine, troubled), "the trouble is told of")
        gone.mkdir()
        wait_until(lambda: "complete" in said_of(engine, troubled), "it is written on")
    assert images_in(lines_in(gone)) == ended(engine, troubled)


def test_a_full_disk_leaves_no_half_of_a_file(
    producer: Producer, engine: Engine, tmp_path: Path
) -> None:
    scan_id = output_scan(engine, str(tmp_path), batches=1, images=200)
    finish_batches(engine)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OutputError, match="File too large"):
            write_output(producer, scan_id, NEVER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files_in(tmp_path) == {}
    assert finish_output(producer, scan_id)
    assert images_in(lines_in(tmp_path)) == ended(engine, scan_id)


def test_a_bucket_that_refuses_is_told_of_and_written_once_it_admits(
    to_s3: Producer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan_id = output_scan(engine, "s3://outputs/refused", batches=1)
    finish_batches(engine)
    with monkeypatch.context() as wrong:
        wrong.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(OutputError, match="s3:PutObject"):
            write_output(to_s3, scan_id, NEVER)
    assert "s3:PutObject" in said_of(engine, scan_id)
    assert finish_output(to_s3, scan_id)
    assert "complete" in said_of(engine, scan_id)


def test_finishing_gives_up_after_some_attempts_and_says_how_to_go_on(
    producer: Producer, engine: Engine, tmp_path: Path
) -> None:
    scan_id = output_scan(engine, str(tmp_path / "gone"), batches=1)
    finish_batches(engine)
    with pytest.raises(OutputError, match=f"fakesweep resume {scan_id}"):
        finish_output(producer, scan_id)


def test_finishing_waits_for_another_writer_and_leaves_a_foreign_folder_alone(
    producer: Producer, engine: Engine, tmp_path: Path
) -> None:
    scan_id = output_scan(engine, str(tmp_path), batches=1)
    finish_batches(engine)
    with ThreadPoolExecutor(1) as thread, engine.connect() as connection:
        assert lock_output(connection, scan_id)
        connection.commit()
        finishing = thread.submit(finish_output, producer, scan_id)
        tried = """SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'fakesweep producer'
                     AND query_start > backend_start"""
        wait_until(lambda: value(engine, tried) > 0, "it tried")
        assert not finishing.done()
        assert files_in(tmp_path) == {}
        unlock_output(connection, scan_id)
        connection.commit()
        assert finishing.result(30)
    run(engine, "UPDATE ledger.outputs SET hostname = 'elsewhere', ended_at = NULL")
    with pytest.raises(OutputError, match="only elsewhere can write"):
        finish_output(producer, scan_id)


def test_a_scan_without_an_output_has_nothing_to_finish(producer: Producer, engine: Engine) -> None:
    assert finish_output(producer, ask(engine))
