"""Loader processes under what untrusted images and a busy machine do to them."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import Engine

from schema.settings import Settings
from tests.batches import publish_scan, result_rows, uris_of
from tests.photographs import folder_of_photographs, photograph
from tests.servers import wait_until
from tests.web_server import Answer, Request, WebServer, web_server
from workers import loaders
from workers.fetch import open_fetcher
from workers.loader import Loader
from workers.pipeline import run_batch
from workers.work import Work, open_work


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url="redis://127.0.0.1:1/0",
        device="cpu",
        device_batch_images=8,
        batches_in_flight=2,
        fetch_attempts=1,
        fetch_timeout_seconds=0.2,
    )


@pytest.fixture
def work(settings: Settings) -> Iterator[Work]:
    with open_work(settings) as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as opened:
        yield opened


def loader_pids(owner: int) -> list[int]:
    """The loader processes whose parent is `owner`, by what the system says of them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == owner and b"workers.loader" in command:
            found.append(int(folder.name))
    return found


def serving(server: WebServer, trouble: Callable[[], None]) -> list[str]:
    """URIs of eight images, of which the fourth makes trouble each time it is asked for."""

    def answer(request: Request) -> Answer:
        if request.path == "/3.jpg":
            trouble()
        return Answer(body=photograph(int(request.path[1:-4])))

    server.answer = answer
    return [f"{server.url}/{number}.jpg" for number in range(8)]


def signal_loaders(number: signal.Signals) -> None:
    for pid in loader_pids(os.getpid()):
        os.kill(pid, number)


def test_an_image_that_kills_its_loader_fails_alone(
    work: Work, engine: Engine, server: WebServer
) -> None:
    [message] = publish_scan(engine, serving(server, lambda: signal_loaders(signal.SIGKILL)))
    run_batch(message, work)
    rows = result_rows(engine, message.scan_id)
    assert [row["failure_code"] for row in rows] == [None] * 3 + ["corrupt"] + [None] * 4
    assert "signal 9" in str(rows[3]["failure_message"])


def test_a_loader_killed_once_costs_no_image(work: Work, engine: Engine, server: WebServer) -> None:
    killed: list[bool] = []

    def once() -> None:
        if not killed:
            killed.append(True)
            signal_loaders(signal.SIGKILL)

    [message] = publish_scan(engine, serving(server, once))
    run_batch(message, work)
    assert {row["status"] for row in result_rows(engine, message.scan_id)} == {"classified"}
    assert killed


def test_an_image_that_hangs_its_loader_fails_alone(
    work: Work, engine: Engine, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaders, "FETCH_SLACK_SECONDS", 0.5)
    [message] = publish_scan(engine, serving(server, lambda: signal_loaders(signal.SIGSTOP)))
    run_batch(message, work)
    codes = [row["failure_code"] for row in result_rows(engine, message.scan_id)]
    assert codes == [None] * 3 + ["corrupt"] + [None] * 4


def test_an_image_that_needs_more_memory_than_a_loader_has_fails_alone(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    folder = folder_of_photographs(tmp_path / "in", 3)
    huge = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(huge, "PNG")
    (folder / "0001.jpg").write_bytes(huge.getvalue())
    [message] = publish_scan(engine, uris_of(folder))
    small = settings.model_copy(update={"loader_memory_bytes": 768 * 1024**2})
    with open_work(small) as work:
        run_batch(message, work)
    codes = [row["failure_code"] for row in result_rows(engine, message.scan_id)]
    assert codes == [None, "too_many_pixels", None]


def test_loaders_end_with_the_process_that_owns_them() -> None:
    code = (
        "import sys, time; from schema.settings import Settings; "
        "from workers.loaders import open_loaders\n"
        "with open_loaders(Settings(batches_in_flight=2)) as loaders:\n"
        "    with loaders.one() as loader: list(loader.fetch([]))\n"
        "    print('ready', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"ready\n"
    pids = loader_pids(owner.pid)
    assert len(pids) == 2
    owner.kill()
    owner.wait()
    owner.stdout.close()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "loaders are gone")


def test_no_loader_is_left_when_work_is_closed(settings: Settings) -> None:
    with open_work(settings):
        assert len(loader_pids(os.getpid())) == settings.batches_in_flight
    assert loader_pids(os.getpid()) == []


def test_images_that_do_not_fit_into_a_loader_come_again(
    settings: Settings, tmp_path: Path
) -> None:
    uris = uris_of(folder_of_photographs(tmp_path / "in", 6))
    tight = settings.model_copy(update={"loader_memory_bytes": 4_000, "fetch_concurrency": 1})
    with (
        open_fetcher(tight) as fetcher,
        ThreadPoolExecutor(1) as threads,
        (tmp_path / "pixels").open("w+b") as pixels,
    ):
        replies = list(Loader(tight, fetcher, threads, pixels.fileno()).replies({"fetch": uris}))
    assert [reply["number"] for reply in replies] == list(range(6))
    assert "sha256" in replies[0]
    assert replies[-1] == {"number": 5, "postponed": True}


def test_a_loader_knows_neither_database_nor_broker_nor_torch(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_DATABASE_URL", "postgresql://user:hush@db/x")
    with loaders.open_loaders(settings) as opened, opened.one() as loader:
        list(loader.fetch([]))
        for pid in loader_pids(os.getpid()):
            assert b"hush" not in Path(f"/proc/{pid}/environ").read_bytes()
            assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()
