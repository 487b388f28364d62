"""Uploads beside a bulk scan: live images never wait for bulk batches, loaders or calls."""

import threading
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane, ScanState
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.process.startup import open_work
from tests.integration.ledger.rows import tuples
from tests.support.batches import publish_scan
from tests.support.photographs import photograph
from tests.support.servers import wait_until
from tests.support.web_server import Answer, Request, WebServer, web_server
from tests.support.worker import publish, running_worker

UNFINISHED = "SELECT state::text, attempt FROM ledger.batches WHERE lane = 'bulk' ORDER BY batch_id"


class Storage:
    """A server that sends live images at once, and holds others until they are released."""

    def __init__(self, server: WebServer) -> None:
        self.url = server.url
        self.held: list[str] = []
        self.let_go = threading.Event()
        server.answer = self._answer

    def uris(self, kind: str, count: int) -> list[str]:
        return [f"{self.url}/{kind}/{number}.jpg" for number in range(count)]

    def _answer(self, request: Request) -> Answer:
        if not request.path.startswith("/live/"):
            self.held.append(request.path)
            self.let_go.wait(60)
        return Answer(200, photograph(abs(hash(request.path)) % 1_000))


@pytest.fixture
def storage() -> Iterator[Storage]:
    with web_server() as server:
        storage = Storage(server)
        yield storage
        storage.let_go.set()


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url=broker_url,
        device="cpu",
        loaders=1,
        allow_networks=(ip_network("127.0.0.0/8"),),
    )


def is_finished(engine: Engine, scan_id: int) -> bool:
    with engine.connect() as connection:
        return progress(connection, scan_id).state == ScanState.FINISHED


def test_a_live_batch_is_taken_up_while_bulk_batches_have_all_the_slots_they_may_have(
    settings: Settings, engine: Engine, storage: Storage, tmp_path: Path
) -> None:
    with running_worker(settings, tmp_path / "log") as worker:  # with two batches in flight
        bulk = publish_scan(engine, storage.uris("bulk", 4), size=1)
        publish(settings, *bulk)
        wait_until(lambda: len(storage.held) == 2, "two bulk batches are in work")
        for number in range(3):  # in sequence: each finds a free slot
            (live,) = publish_scan(engine, storage.uris(f"live/{number}", 3), lane=Lane.LIVE)
            publish(settings, live)
            wait_until(partial(is_finished, engine, live.scan_id), f"live {number} ends")
        assert len(storage.held) == 2, "bulk batches have taken no slot that is kept for live ones"
        states = [("running", 1), ("running", 1), ("published", 0), ("published", 0)]
        assert tuples(engine, UNFINISHED) == states
        storage.let_go.set()
        wait_until(lambda: is_finished(engine, bulk[0].scan_id), "the bulk scan ends")
        assert not worker.events("batch_passed_over")


def test_live_batches_may_take_every_slot(
    settings: Settings, engine: Engine, storage: Storage, tmp_path: Path
) -> None:
    with running_worker(settings, tmp_path / "log"):
        slow = publish_scan(engine, storage.uris("slow", 6), size=1, lane=Lane.LIVE)
        publish(settings, *slow)
        query = "SELECT count(*) FROM ledger.batches WHERE state = 'running'"
        wait_until(lambda: tuples(engine, query) == [(6,)], "all six are in work at once")
        storage.let_go.set()
        wait_until(lambda: is_finished(engine, slow[0].scan_id), "they end")


def test_a_live_image_waits_for_no_loader_that_is_at_something_else(
    settings: Settings, engine: Engine, storage: Storage
) -> None:
    with open_work(settings) as work:
        (bulk,) = publish_scan(engine, storage.uris("bulk", 1))
        busy = threading.Thread(target=run_batch, args=(bulk, work))
        busy.start()
        wait_until(lambda: len(storage.held) == 1, "the only loader of all lanes is busy")
        (live,) = publish_scan(engine, storage.uris("live", 2), lane=Lane.LIVE)
        run_batch(live, work)
        assert is_finished(engine, live.scan_id)
        assert busy.is_alive()
        storage.let_go.set()
        busy.join(60)
        assert is_finished(engine, bulk.scan_id)
