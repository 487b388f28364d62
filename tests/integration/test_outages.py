"""Ledger outages at the worst moments: killed, restarted, or single sessions ended."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog
from sqlalchemy import Connection, Engine, text

from fakesweep.producer import backoff as waiting
from fakesweep.producer.resources import open_producer
from fakesweep.producer.scans import ScanRequest, add_scan
from fakesweep.producer.service import serve
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger import retry
from fakesweep.schema.ledger.batches import outcomes
from fakesweep.schema.ledger.batches.leases import claim_batch
from fakesweep.schema.ledger.batches.outcomes import Failure, Outcome, store_outcomes
from fakesweep.schema.ledger.batches.publishing import take_recorded
from fakesweep.schema.ledger.batches.recovery import requeue_expired
from fakesweep.schema.ledger.copy import copy_rows
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.process.startup import open_work
from tests.support.batches import publish_scan, result_rows
from tests.support.killable_postgres import Server, killable_postgres
from tests.support.photographs import photograph
from tests.support.servers import wait_until
from tests.support.web_server import Answer, Request, WebServer, web_server

Lines = list[Any]
LEASE_SECONDS = 1.0

_HELD = "SELECT count(*) FROM ledger.batches WHERE state = 'running' AND lease_until > now()"
_RECORDED = "SELECT count(*) FROM ledger.batches"
_LISTED = "SELECT count(listed_at) FROM ledger.scans"
_STORES_WAIT = """
    SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND query LIKE '%INTO ledger.outcomes%'
"""
_END_SESSIONS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE application_name = 'fakesweep worker'
"""
_MISCOUNTED = """
    SELECT count(*) FROM ledger.batches b
    WHERE image_count <> (SELECT count(*) FROM ledger.images i WHERE i.batch_id = b.batch_id)
"""


@pytest.fixture(scope="module")
def _server() -> Iterator[Server]:
    with killable_postgres() as server:
        yield server


@pytest.fixture
def server(_server: Server) -> Server:
    """The server, with an empty database at this code's migration."""
    _server.start()
    _server.renew_database()
    return _server


@pytest.fixture
def database_url(server: Server) -> str:
    return server.url


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url=broker_url,
        device="cpu",
        cpu_threads=1,
        loaders=4,
        models=("vit-tiny-cifake",),
        allow_networks=(ip_network("127.0.0.0/8"),),
        batch_images=4,
    )


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Log lines, with a backoff of at most a second."""
    monkeypatch.setattr(retry, "LONGEST_PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(waiting, "LONGEST_WAIT_SECONDS", 1.0)
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
def work(settings: Settings) -> Iterator[Work]:
    with open_work(settings) as opened:
        yield opened


@pytest.fixture
def short(settings: Settings) -> Iterator[Work]:
    """Work with leases of a second."""
    with open_work(settings.model_copy(update={"lease_seconds": LEASE_SECONDS})) as opened:
        yield opened


class Pictures:
    """A web server that holds its images until they are released."""

    def __init__(self, server: WebServer) -> None:
        self.asked = server.requests
        self.let_go = threading.Event()
        self._url = server.url
        server.answer = self._answer

    def uris(self, count: int) -> list[str]:
        return [f"{self._url}/{number}.jpg" for number in range(count)]

    def _answer(self, request: Request) -> Answer:
        assert self.let_go.wait(60)
        return Answer(body=photograph(int(request.path[1:].partition(".")[0])))


@pytest.fixture
def pictures() -> Iterator[Pictures]:
    with web_server() as server:
        told = Pictures(server)
        yield told
        told.let_go.set()


@contextmanager
def _running(
    messages: list[BatchMessage], work: Work, server: Server, pictures: Pictures
) -> Iterator[list[Future[None]]]:
    """Run batches in threads, which can end even if the test fails."""
    with ThreadPoolExecutor(len(messages)) as threads:
        try:
            yield [threads.submit(run_batch, message, work) for message in messages]
        finally:
            pictures.let_go.set()
            server.start()


def _one(engine: Engine, sql: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(sql)).scalar_one()


def _requeued(connection: Connection) -> BatchMessage:
    """Expire a lease and publish its batch again, like a producer."""
    connection.execute(text("UPDATE ledger.batches SET lease_until = now() - interval '1s'"))
    assert requeue_expired(connection).batches == 1
    [message] = take_recorded(connection, Lane.BULK, 10)
    return message


def _away_seconds(work: Work) -> float:
    since = work.ledger_retry.away_since
    return 0.0 if since is None else time.monotonic() - since


def _request_for(manifest: Path) -> ScanRequest:
    return ScanRequest((str(manifest),), ("vit-tiny-cifake",), Lane.BULK, "default")


def _count(lines: Lines, event: str) -> int:
    return sum(line["event"] == event for line in lines)


def _await(lines: Lines, event: str, count: int = 1) -> None:
    wait_until(lambda: _count(lines, event) >= count, f"{event}: {lines}", 30)


def _await_ledger(lines: Lines) -> None:
    """Wait until the producer's threads retry the ledger, with one log line."""
    waiting = {"event": "waiting", "awaited": "ledger"}
    wait_until(lambda: any(waiting.items() <= line.items() for line in lines), str(lines), 30)


def _await_batches(engine: Engine, count: int) -> None:
    wait_until(lambda: _one(engine, _RECORDED) > count, f"{count} batches are recorded")


def _check_stored_once(engine: Engine, scan_id: int, images: int) -> None:
    found = result_rows(engine, scan_id)
    assert len(found) == len({row["uri"] for row in found}) == images
    assert {row["status"] for row in found} <= {"classified", "reused"}
    with engine.connect() as connection:
        done = progress(connection, scan_id)
        verdicts = connection.execute(text("SELECT count(*) FROM ledger.verdicts")).scalar_one()
        written = connection.execute(
            text("SELECT count(*), count(*) FILTER (WHERE state = 'done') FROM ledger.batches")
        ).one()
    assert (done.submitted, done.pending, done.failed) == (images, 0, 0)
    assert verdicts == images
    assert written[0] == written[1]


def test_a_server_killed_while_batches_are_in_work_is_waited_for_and_they_are_stored_once(
    server: Server, work: Work, engine: Engine, pictures: Pictures, lines: Lines
) -> None:
    messages = publish_scan(engine, pictures.uris(12), size=4)
    with _running(messages, work, server, pictures) as batches:
        wait_until(lambda: len(pictures.asked) == 12, "loaders fetch")
        server.kill()
        pictures.let_go.set()
        _await(lines, "ledger_away")
        server.start()
        for batch in batches:
            batch.result(60)
    assert _count(lines, "ledger_away") <= 2
    assert _count(lines, "ledger_back") == 1
    assert len([line for line in lines if line["log_level"] != "info"]) <= 4
    _check_stored_once(engine, messages[0].scan_id, 12)


def test_a_message_that_comes_while_the_server_is_away_is_taken_up_when_it_is_back(
    server: Server, work: Work, engine: Engine, pictures: Pictures, lines: Lines
) -> None:
    [message] = publish_scan(engine, pictures.uris(3))
    pictures.let_go.set()
    server.kill()
    with _running([message], work, server, pictures) as [batch]:
        _await(lines, "ledger_away")
        assert not pictures.asked, "nothing is worked on that was not claimed"
        server.start()
        batch.result(60)
    assert _count(lines, "ledger_back") == 1
    _check_stored_once(engine, message.scan_id, 3)


def test_a_lease_that_ran_out_while_the_server_was_away_is_taken_back(
    server: Server, short: Work, engine: Engine, pictures: Pictures, lines: Lines
) -> None:
    [message] = publish_scan(engine, pictures.uris(3))
    with _running([message], short, server, pictures) as [batch]:
        wait_until(lambda: len(pictures.asked) == 3, "loaders fetch")
        server.kill()
        wait_until(lambda: _away_seconds(short) > LEASE_SECONDS, "the lease has run out")
        server.start()
        with engine.begin() as connection:
            again = _requeued(connection)
        wait_until(lambda: _one(engine, _HELD), "the lease is taken back")
        run_batch(again, short)
        assert _count(lines, "batch_passed_over") == 1
        pictures.let_go.set()
        batch.result(60)
    _check_stored_once(engine, message.scan_id, 3)
    assert _one(engine, "SELECT attempt FROM ledger.batches") == 1


def test_a_worker_that_lost_its_batch_during_an_outage_writes_nothing(
    server: Server, short: Work, engine: Engine, pictures: Pictures, lines: Lines
) -> None:
    another = uuid4()
    [message] = publish_scan(engine, pictures.uris(3))
    with _running([message], short, server, pictures) as [batch]:
        wait_until(lambda: len(pictures.asked) == 3, "loaders fetch")
        server.kill()
        _await(lines, "ledger_away")
        server.start()
        with engine.begin() as connection:  # all at once, so that the worker is not faster
            again = _requeued(connection)
            held = claim_batch(connection, again.batch_id, another, 60, attempt=again.attempt)
        assert held is not None
        pictures.let_go.set()
        batch.result(60)
    assert _count(lines, "batch_lost_to_another_worker") == 1
    assert _one(engine, "SELECT count(*) FROM ledger.outcomes") == 0
    failure = Failure(FailureCode.NOT_FOUND, "gone")
    gone = [Outcome(image.image_id, None, (), failure) for image in again.images]
    with engine.begin() as connection:
        assert store_outcomes(connection, held, another, gone)
    assert {row["failure_code"] for row in result_rows(engine, message.scan_id)} == {"not_found"}
    assert _one(engine, "SELECT count(*) FROM ledger.verdicts") == 0


def test_sessions_ended_in_the_middle_of_a_store_leave_nothing_half_written(
    server: Server, work: Work, engine: Engine, pictures: Pictures, lines: Lines
) -> None:
    [message] = publish_scan(engine, pictures.uris(5))
    pictures.let_go.set()
    with engine.connect() as ours, _running([message], work, server, pictures) as [batch]:
        ours.execute(text("LOCK TABLE ledger.outcomes"))
        try:
            wait_until(lambda: _one(engine, _STORES_WAIT), "the store is met")
            assert _one(engine, _END_SESSIONS) > 0
            _await(lines, "ledger_away")
            assert _one(engine, "SELECT count(*) FROM ledger.verdicts") == 0
        finally:
            ours.rollback()
        batch.result(60)
    assert _count(lines, "ledger_back") == 1
    _check_stored_once(engine, message.scan_id, 5)


@pytest.mark.parametrize("table", ["stage_images", "stage_verdicts"])
def test_a_session_ended_in_the_middle_of_a_copy_is_waited_out_like_any_other(
    work: Work, engine: Engine, lines: Lines, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [message] = publish_scan(engine, [f"file:///nowhere/{number}" for number in range(5)])
    copy, ended = copy_rows, threading.Event()

    def copy_without_session(connection: Connection, into: str, rows: Any) -> None:
        if into == table and not ended.is_set():
            ended.set()
            own = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": own})
        copy(connection, into, rows)

    monkeypatch.setattr(outcomes, "copy_rows", copy_without_session)
    run_batch(message, work)
    assert _count(lines, "ledger_away") == _count(lines, "ledger_back") == 1
    assert len(result_rows(engine, message.scan_id)) == 5
    assert _one(engine, "SELECT count(*) FROM ledger.outcomes") == 5


def test_a_listing_goes_on_where_it_was_when_the_server_died(
    server: Server, settings: Settings, engine: Engine, lines: Lines, tmp_path: Path
) -> None:
    manifest = tmp_path / "many.txt"
    manifest.write_text("".join(f"s3://photos/{number:05}.jpg\n" for number in range(4_000)))
    stop = threading.Event()
    with open_producer(settings, read_catalogue(None)) as producer, ThreadPoolExecutor(1) as thread:
        scan_id = add_scan(producer, _request_for(manifest))
        serving = thread.submit(serve, producer, stop)
        try:
            for recorded in (100, 400):
                _await_batches(engine, recorded)
                server.kill()
                _await_ledger(lines)
                server.start()
                _await(lines, "waited")
                assert _count(lines, "waiting") <= 2  # not one for each of eight threads
                lines.clear()
            wait_until(lambda: bool(_one(engine, _LISTED)), "the listing ends")
            wait_until(
                lambda: len(producer.publisher.waiting_batches(Lane.BULK)) == 64, "a window is full"
            )
        finally:
            server.start()
            stop.set()
        serving.result(30)
    with engine.connect() as connection:
        assert progress(connection, scan_id).submitted == 4_000
    assert _one(engine, "SELECT count(DISTINCT uri) FROM ledger.images") == 4_000
    assert _one(engine, "SELECT count(*) FROM ledger.images") == 4_000
    assert _one(engine, _MISCOUNTED) == 0


def test_an_idle_worker_can_close_while_the_server_is_away(
    server: Server, settings: Settings, lines: Lines
) -> None:
    with open_work(settings):
        server.kill()
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert _count(lines, "worker_not_retired") == 1


@pytest.mark.parametrize("code", ["53100", "57014"], ids=["disk full", "cancelled"])
def test_a_copy_that_the_server_refuses_for_now_is_tried_again(
    work: Work, engine: Engine, lines: Lines, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [message] = publish_scan(engine, [f"file:///nowhere/{number}" for number in range(5)])
    copy, refused = copy_rows, threading.Event()

    def copy_refused_once(connection: Connection, into: str, rows: Any) -> None:
        if not refused.is_set():
            refused.set()
            connection.exec_driver_sql(
                "CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$;"
                f"CREATE TRIGGER refuse BEFORE INSERT ON {into} EXECUTE FUNCTION pg_temp.refuse()"
            )
        copy(connection, into, rows)

    monkeypatch.setattr(outcomes, "copy_rows", copy_refused_once)
    run_batch(message, work)
    assert _count(lines, "ledger_away") == _count(lines, "ledger_back") == 1
    assert _one(engine, "SELECT count(*) FROM ledger.outcomes") == 5
