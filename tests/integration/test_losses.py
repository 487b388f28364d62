"""Images whose loader is lost, and servers with endless answers."""

import os
import signal
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from fakesweep.schema.settings import Settings
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.process.startup import open_work
from fakesweep.workers.sandbox import losses, pool
from tests.integration.test_loaders import get_ready, loader_pids
from tests.support.batches import publish_scan, result_rows, uris_of
from tests.support.hostile_files import scan_bomb
from tests.support.photographs import folder_of_photographs


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url="redis://127.0.0.1:1/0",
        device="cpu",
        loaders=1,
        fetch_attempts=1,
        allow_networks=(ip_network("127.0.0.0/8"),),
        file_roots=(Path("/"),),
    )


def test_images_that_take_their_time_cost_their_limit_once_and_no_neighbour_its_verdict(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    folder = folder_of_photographs(tmp_path / "in", 6)
    for slow in (1, 4):
        (folder / f"{slow:04}.jpg").write_bytes(scan_bomb(12_000, 1_000 + slow))
    [message] = publish_scan(engine, uris_of(folder))
    quick = settings.model_copy(update={"decode_timeout_seconds": 1.0, "loaders": 1})
    with capture_logs() as said, open_work(quick) as work:
        run_batch(message, work)
    codes = [row["failure_code"] for row in result_rows(engine, message.scan_id)]
    assert codes == [None, "decode_timed_out", None, None, "decode_timed_out", None]
    assert len([one for one in said if one["event"] == "loader_lost"]) == 2, "one for each"


@pytest.mark.parametrize("times", [1, 3])
def test_a_loader_killed_while_it_decodes_is_no_images_fault_while_that_may_pass(
    settings: Settings,
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    """Like a neighbour that takes the machine's memory for a while."""
    monkeypatch.setattr(losses, "KILLED_PAUSES_SECONDS", (0.1, 0.1, 0.1))
    left = list(range(times))
    decode = pool.LoaderHandle.decode

    def pressed(loader: pool.LoaderHandle, *asked: Any) -> Iterator[Any]:
        if left:
            left.pop()
            os.kill(loader._process.pid, signal.SIGKILL)
        return decode(loader, *asked)

    monkeypatch.setattr(pool.LoaderHandle, "decode", pressed)
    [message] = publish_scan(engine, uris_of(folder_of_photographs(tmp_path / "in", 4)))
    with open_work(settings) as work:
        run_batch(message, work)
    rows = result_rows(engine, message.scan_id)
    assert [row["failure_message"] for row in rows] == [None] * 4
    assert not left


def test_servers_that_drip_their_headers_cost_a_deadline_each_and_no_loader(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    hasty = {"fetch_deadline_seconds": 2.0, "fetch_timeout_seconds": 60.0, "loaders": 1}
    with dripping_headers() as url, capture_logs() as said:
        uris = [f"{url}/{number}.jpg" for number in range(4)]
        uris += uris_of(folder_of_photographs(tmp_path / "in", 2))
        [message] = publish_scan(engine, uris)
        with open_work(settings.model_copy(update=hasty)) as work:
            get_ready(work)
            worn = loader_pids(os.getpid())
            run_batch(message, work)
            assert set(loader_pids(os.getpid())) < set(worn), "its threads may never end"
    rows = result_rows(engine, message.scan_id)
    assert [row["failure_code"] for row in rows] == ["timed_out"] * 4 + [None] * 2
    assert "not whole within 2 s" in str(rows[0]["failure_message"])
    assert not [one for one in said if one["event"] == "loader_lost"]


@contextmanager
def dripping_headers() -> Iterator[str]:
    """Yield the URL of a server that drips an endless header, a letter each 50 ms."""
    closing = threading.Event()

    class Dripping(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.request.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            with suppress(OSError):
                while not closing.wait(0.05):
                    self.request.sendall(b"a")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dripping) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        closing.set()
        server.shutdown()
