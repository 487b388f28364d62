"""Lister pool of a real service: live scans first, and no failure ends another scan."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from fakesweep.diagnosis import Reason, blockers_of
from fakesweep.producer import service
from fakesweep.producer.listing import pool, scan
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.scans import ScanRequest, record_request
from fakesweep.producer.service import serve
from fakesweep.producer.sources import list_entries
from fakesweep.producer.watchdog import Watchdog, progressed, waits_for_ledger
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.ledger.reports.stalls import movement
from fakesweep.schema.ledger.scans.scans import Entry
from fakesweep.schema.settings import Settings
from fakesweep.schema.telemetry.heartbeat import Heartbeat, complaint
from fakesweep.schema.words import Lane, Role
from tests.support.dripping_server import dripping_server
from tests.support.photographs import folder_of_photographs
from tests.support.servers import wait_until

REFUSE_IMAGES = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.scan_id = 1 THEN
            RAISE EXCEPTION 'value out of range' USING ERRCODE = '{code}';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON ledger.images FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.fixture
def producer(database_url: str, broker_url: str) -> Iterator[Producer]:
    settings = Settings(
        database_url=database_url,
        broker_url=broker_url,
        batch_images=4,
        listers=4,
        list_timeout_seconds=300,
        allow_networks="127.0.0.0/8",
    )
    with open_producer(settings, read_catalogue(None)) as opened:
        yield opened


@contextmanager
def serving(producer: Producer) -> Iterator[threading.Thread]:
    stop = threading.Event()
    thread = threading.Thread(target=serve, args=(producer, stop))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def asked(producer: Producer, source: str, lane: Lane = Lane.BULK) -> int:
    """Record a scan without a look at its source."""
    request = ScanRequest((source,), ("vit-tiny-cifake",), lane, "default")
    with producer.engine.begin() as connection:
        return record_request(connection, producer, request)


def is_listed(producer: Producer, scan_id: int) -> bool:
    with producer.engine.connect() as connection:
        return progress(connection, scan_id).listed_at is not None


def trouble(producer: Producer, scan_id: int) -> str | None:
    with producer.engine.connect() as connection:
        found = movement(connection, scan_id, within_seconds=60)
        waits = blockers_of(progress(connection, scan_id), found, producer.settings)
    return next((wait.said for wait in waits if wait.reason is Reason.SOURCE), None)


def run(producer: Producer, sql: str) -> None:
    with producer.engine.begin() as connection:
        connection.execute(text(sql))


def test_a_live_scan_waits_for_no_slow_archives(producer: Producer, tmp_path: Path) -> None:
    photographs = str(folder_of_photographs(tmp_path / "in", 10))
    with dripping_server() as slow, serving(producer):
        slow.start, slow.drip = b"HTTP/1.1 200 OK\r\n\r\n", b"s3://archive/a.jpg\n"
        archives = [asked(producer, f"{slow.url}/{number}.txt") for number in range(6)]
        wait_until(lambda: slow.connections == 3, "archives have all listers but one")
        live = asked(producer, photographs, Lane.LIVE)
        wait_until(lambda: is_listed(producer, live), "the live scan is listed")
        assert slow.connections == 3
        assert not any(is_listed(producer, scan_id) for scan_id in archives)


def test_an_archive_that_drips_keeps_no_other_scan_waiting(
    producer: Producer, tmp_path: Path
) -> None:
    with dripping_server() as slow, serving(producer):
        slow.start = b"HTTP/1.1 200 OK\r\n\r\n"
        asked(producer, f"{slow.url}/list.txt")
        wait_until(lambda: slow.connections == 1, "the archive is being copied")
        other = asked(producer, str(folder_of_photographs(tmp_path / "in", 10)))
        wait_until(lambda: is_listed(producer, other), "the other scan is listed")


def test_a_failed_listing_frees_its_lister(producer: Producer, tmp_path: Path) -> None:
    folder = str(folder_of_photographs(tmp_path / "in", 4))
    quick = producer.settings.model_copy(update={"list_timeout_seconds": 0.5, "listers": 2})
    with open_producer(quick, read_catalogue(None)) as opened, dripping_server() as slow:
        slow.start = b"HTTP/1.1 200 OK\r\n\r\n"
        dripping = [asked(opened, f"{slow.url}/{number}.txt") for number in range(3)]
        last = asked(opened, folder)
        with serving(opened):
            wait_until(lambda: is_listed(opened, last), "the scan behind them is listed")
            said = trouble(opened, dripping[0])
    assert said is not None
    assert "was not whole within 0.5 s" in said


@pytest.mark.parametrize("code", ["22003", "22021", "22008", "23514", "XX000"])
def test_a_scan_whose_data_the_ledger_refuses_stops_alone_and_goes_on_when_it_is_mended(
    producer: Producer, tmp_path: Path, code: str
) -> None:
    folder = str(folder_of_photographs(tmp_path / "in", 10))
    run(producer, REFUSE_IMAGES.format(code=code))
    spoilt, sound = asked(producer, folder), asked(producer, folder)
    with serving(producer) as service_thread:
        wait_until(lambda: is_listed(producer, sound), "the sound scan is listed")
        wait_until(lambda: trouble(producer, spoilt) is not None, "the other says why not")
        assert "value out of range" in str(trouble(producer, spoilt))
        assert service_thread.is_alive()
        run(producer, "DROP TRIGGER refuse ON ledger.images")
        run(producer, "UPDATE ledger.listing_troubles SET try_at = now()")
        wait_until(lambda: is_listed(producer, spoilt), "it goes on")
        assert trouble(producer, spoilt) is None


def test_a_listing_that_ends_unexpectedly_stops_alone_also_at_the_next_start(
    producer: Producer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of_photographs(tmp_path / "in", 10)
    real = list_entries

    def broken(source: str, *words: object, **more: object) -> Iterator[Entry]:
        if source.endswith("strange"):
            raise RuntimeError("never seen before\n\x1b")
        return real(source, *words, **more)  # type: ignore[arg-type]

    (tmp_path / "strange").mkdir()
    monkeypatch.setattr(scan, "list_entries", broken)
    strange = asked(producer, str(tmp_path / "strange"))
    for _ in range(2):
        sound = asked(producer, str(folder))
        with serving(producer):
            wait_until(lambda one=sound: is_listed(producer, one), "the sound scan is listed")  # type: ignore[misc]
            wait_until(lambda: trouble(producer, strange) is not None, "the other says why not")
    said = str(trouble(producer, strange))
    assert "RuntimeError: never seen before" in said
    assert said.isprintable()


def test_a_job_that_fails_ends_neither_the_service_nor_other_jobs(
    producer: Producer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def failing(*_: object) -> None:
        calls.append("failing")
        raise KeyError("what nobody thought of")

    monkeypatch.setattr(service, "JOBS", {**service.JOBS, "webhooks": failing})
    scan_id = asked(producer, str(folder_of_photographs(tmp_path / "in", 4)))
    with serving(producer) as service_thread:
        wait_until(lambda: len(calls) > 2, "the job is restarted")
        wait_until(lambda: is_listed(producer, scan_id), "scans are listed all the same")
        assert service_thread.is_alive()


def test_reconciling_and_a_lane_that_fail_keep_no_batch_from_being_published(
    producer: Producer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(service, "reconcile", failing)
    run(producer, """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '22003'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE OF state ON ledger.batches FOR EACH ROW
        WHEN (NEW.state = 'published' AND NEW.lane = 'live') EXECUTE FUNCTION refuse();
    """)  # fmt: skip
    folder = str(folder_of_photographs(tmp_path / "in", 4))
    with serving(producer):
        asked(producer, folder, Lane.LIVE)
        asked(producer, folder)
        wait_until(
            lambda: len(producer.publisher.waiting_batches(Lane.BULK)) == 1, "bulk is published"
        )


def test_the_health_of_a_producer_sees_a_lister_that_does_not_get_on(producer: Producer) -> None:
    watchdog, stop = Watchdog(), threading.Event()
    heartbeat = Heartbeat(Role.PRODUCER, step_seconds=60)
    heartbeat.tick()
    with dripping_server() as slow:
        slow.drip = b"H"  # an invalid answer
        asked(producer, f"{slow.url}/list.txt")
        thread = threading.Thread(target=pool.run_listers, args=(producer, stop, watchdog))
        thread.start()
        try:
            wait_until(lambda: slow.connections == 1, "the list is asked for")
            [(name, began)] = watchdog.all().items()
            assert name == "listing of scan 1"
            heartbeat.threads = watchdog.all()
            assert complaint(heartbeat, began + 20) is None
            heartbeat.beat_at = heartbeat.looped_at = began + 100
            assert complaint(heartbeat, began + 100) == (
                "has not got on with its listing of scan 1 for 100 s"
            )
        finally:
            stop.set()
            thread.join(30)
    wait_until(lambda: watchdog.all() == {}, "nothing is watched any more")


def test_a_thread_that_progresses_or_waits_for_the_ledger_is_healthy() -> None:
    watchdog = Watchdog()
    with watchdog.watched("outputs"):
        [(_, began)] = watchdog.all().items()
        signs: list[Callable[[], None]] = [progressed, waits_for_ledger]
        for sign in signs:
            sign()
            assert watchdog.all()["outputs"] >= began
        heartbeat = Heartbeat(Role.PRODUCER, step_seconds=1, threads=watchdog.all())
        heartbeat.tick()
        assert complaint(heartbeat, heartbeat.looped_at + 20) is None
