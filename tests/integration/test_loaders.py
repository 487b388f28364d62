"""Loader processes under untrusted images and a busy machine."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine

from fakesweep.schema.errors import LoadersError
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.process.startup import LIVE_LOADERS, LOADERS_PER_CORE, open_work
from fakesweep.workers.sandbox import losses, pool
from tests.support.batches import publish_scan, result_rows, uris_of
from tests.support.photographs import folder_of_photographs, photograph
from tests.support.servers import S3Server, wait_until
from tests.support.web_server import Answer, Request, WebServer, web_server

MIB = 1024**2


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url="redis://127.0.0.1:1/0",
        device="cpu",
        loaders=2,
        fetch_attempts=1,
        allow_networks=(ip_network("127.0.0.0/8"),),
        file_roots=(Path("/"),),
    )


@pytest.fixture
def work(settings: Settings) -> Iterator[Work]:
    with open_work(settings) as opened:
        get_ready(opened)
        yield opened


def get_ready(work: Work) -> None:
    """Wait until every loader has started."""
    with ExitStack() as lent:
        for _ in range(work.settings.loaders):
            list(lent.enter_context(work.loaders.one()).fetch([]))
        list(lent.enter_context(work.loaders.one(Lane.LIVE)).fetch([]))


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as opened:
        yield opened


def loader_pids(owner: int) -> list[int]:
    """Return the pids of the loader processes whose parent is `owner`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == owner and b"fakesweep.workers.sandbox.process" in command:
            found.append(int(folder.name))
    return found


def serving(server: WebServer, answering: Callable[[int], None], count: int = 8) -> list[str]:
    """URIs of `count` images; before each answer `answering` is called with the image's number."""

    def answer(request: Request) -> Answer:
        number = int(request.path[1:-4])
        answering(number)
        return Answer(body=photograph(number))

    server.answer = answer
    return [f"{server.url}/{number}.jpg" for number in range(count)]


def fourth(trouble: Callable[[], None]) -> Callable[[int], None]:
    """Call `trouble` at each request for the fourth image."""
    return lambda number: trouble() if number == 3 else None


def signal_loaders(number: signal.Signals) -> None:
    for pid in loader_pids(os.getpid()):
        os.kill(pid, number)


def test_an_image_that_kills_its_loader_each_time_fails_alone(
    work: Work, engine: Engine, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "KILLED_PAUSES_SECONDS", (0.1, 0.1, 0.1))
    [message] = publish_scan(
        engine, serving(server, fourth(lambda: signal_loaders(signal.SIGKILL)))
    )
    run_batch(message, work)
    rows = result_rows(engine, message.scan_id)
    assert [row["failure_code"] for row in rows] == [None] * 3 + ["killed_loader"] + [None] * 4
    assert "signal 9" in str(rows[3]["failure_message"])


@pytest.mark.parametrize("count", [8, 1])
def test_a_loader_killed_once_costs_no_image(
    work: Work, engine: Engine, server: WebServer, count: int
) -> None:
    killed: list[int] = []

    def once(number: int) -> None:
        if number == count // 2 and not killed:
            killed.append(number)
            signal_loaders(signal.SIGKILL)

    [message] = publish_scan(engine, serving(server, once, count))
    run_batch(message, work)
    rows = result_rows(engine, message.scan_id)
    assert [(row["status"], row["failure_message"]) for row in rows] == [
        ("classified", None)
    ] * count
    assert killed


def test_loaders_that_died_while_nobody_used_them_cost_no_image(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    pids = loader_pids(os.getpid())
    signal_loaders(signal.SIGKILL)
    wait_until(lambda: all(_has_ended(pid) for pid in pids), "the loaders are dead")
    for number in range(2):
        [message] = publish_scan(engine, uris_of(folder_of_photographs(tmp_path / str(number), 1)))
        run_batch(message, work)
        [row] = result_rows(engine, message.scan_id)
        assert row["failure_message"] is None


def _has_ended(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "Z"


def test_an_image_that_hangs_its_loader_fails_alone(
    work: Work, engine: Engine, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "FETCH_SLACK_SECONDS", 2.0 - work.settings.fetch_deadline_seconds)
    [message] = publish_scan(
        engine, serving(server, fourth(lambda: signal_loaders(signal.SIGSTOP)))
    )
    run_batch(message, work)
    codes = [row["failure_code"] for row in result_rows(engine, message.scan_id)]
    assert codes == [None] * 3 + ["timed_out"] + [None] * 4


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


def test_many_loaders_killed_at_once_and_again_cost_no_image_and_no_worker(
    work: Work, engine: Engine, server: WebServer
) -> None:
    killed: list[int] = []

    def twice(number: int) -> None:
        if number in {5, 70} and number not in killed:
            killed.append(number)
            signal_loaders(signal.SIGKILL)

    [message] = publish_scan(engine, serving(server, twice, 96))
    run_batch(message, work)
    rows = result_rows(engine, message.scan_id)
    assert [row["failure_code"] for row in rows] == [None] * 96
    assert sorted(killed) == [5, 70]


def test_the_out_of_memory_killer_takes_loaders_first(work: Work) -> None:
    pids = loader_pids(os.getpid())
    assert len(pids) == work.settings.loaders + LIVE_LOADERS
    for pid in pids:
        assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "1000\n"


def test_loaders_end_with_the_process_that_owns_them() -> None:
    code = (
        "import sys, time; from fakesweep.schema.settings import Settings; "
        "from fakesweep.workers.sandbox.pool import open_loader_pool\n"
        "with open_loader_pool(Settings(), 2) as loaders:\n"
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


@pytest.mark.parametrize("when", ["before the answer", "with the answer unread"])
def test_a_loader_whose_worker_ends_amid_a_chunk_ends_silently(
    settings: Settings, server: WebServer, capfd: pytest.CaptureFixture[str], when: str
) -> None:
    go_on = threading.Event()
    server.answer = lambda _: Answer(404) if go_on.wait(30) else Answer(500)
    loader = pool.LoaderHandle(settings)
    try:
        loader.wait_until_ready()
        loader._connection.send_bytes(json.dumps({"fetch": [f"{server.url}/a.jpg"]}).encode())
        wait_until(lambda: bool(server.requests), "it fetches")
        if when == "with the answer unread":
            go_on.set()
            wait_until(loader._connection.poll, "it has answered")
        loader._connection.close()
        go_on.set()
        assert loader._process.wait(30) == 0
    finally:
        loader.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("asked", "count"), [(3, 3), (0, LOADERS_PER_CORE * len(os.sched_getaffinity(0)))]
)
def test_there_are_as_many_loaders_as_the_setting_says_and_none_is_left(
    settings: Settings, asked: int, count: int
) -> None:
    with open_work(settings.model_copy(update={"loaders": asked})):
        assert len(loader_pids(os.getpid())) == count + LIVE_LOADERS
    assert loader_pids(os.getpid()) == []


def test_bulk_loaders_yield_the_processor_to_the_worker_and_to_live_loaders(
    work: Work,
) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    found = [os.getpriority(os.PRIO_PROCESS, pid) for pid in loader_pids(os.getpid())]
    assert sum(priority > own for priority in found) == work.settings.loaders
    assert found.count(own) == LIVE_LOADERS


class Ending(subprocess.Popen[bytes]):
    """A process that ends before its first message."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.wait()


def _broken_python(folder: Path) -> str:
    """Return an interpreter that ends shortly after its start."""
    program = folder / "python"
    program.write_text("#!/bin/sh\nsleep 0.2\nexit 3\n")
    program.chmod(0o755)
    return str(program)


def test_loaders_that_do_not_start_are_no_images_failure(
    settings: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [message] = publish_scan(engine, uris_of(folder_of_photographs(tmp_path / "in", 3)))
    monkeypatch.setattr(sys, "executable", _broken_python(tmp_path))
    with open_work(settings) as work:
        for attempt in range(2):
            with pytest.raises(LoadersError, match=r"no loader process starts: .* status 3"):
                run_batch(replace(message, attempt=attempt), work)
    assert result_rows(engine, message.scan_id) == []


def test_loaders_that_end_at_once_are_no_images_failure(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(subprocess, "Popen", Ending)
    with (
        pytest.raises(LoadersError, match="no loader process"),
        pool.open_loader_pool(settings, 2) as opened,
        opened.one() as one,
    ):
        list(one.fetch([]))


def test_an_interpreter_that_is_gone_is_a_loaders_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    before = _open_files()
    with (
        pytest.raises(LoadersError, match=r"no loader process can be started: .*/no/such/python"),
        pool.open_loader_pool(settings, 2),
    ):
        pass
    assert _open_files() == before


def _open_files() -> list[str]:
    return sorted(one.name for one in Path("/proc/self/fd").iterdir())


def test_loaders_that_cannot_be_replaced_are_no_images_failure(
    settings: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [message] = publish_scan(engine, uris_of(folder_of_photographs(tmp_path / "in", 3)))
    with open_work(settings.model_copy(update={"loaders": 1})) as work:
        get_ready(work)
        with monkeypatch.context() as gone:
            gone.setattr(sys, "executable", "/no/such/python")
            signal_loaders(signal.SIGKILL)
            opened: list[int] = []
            for attempt in range(3):
                with pytest.raises(LoadersError, match="no loader process can be started"):
                    run_batch(replace(message, attempt=attempt), work)
                opened += os.pipe()
            for one in opened:
                os.close(one)  # no other handle exists
        run_batch(replace(message, attempt=3), work)
    assert {row["status"] for row in result_rows(engine, message.scan_id)} == {"classified"}


SECRETS = (
    "FAKESWEEP_DATABASE_URL", "fakesweep_database_url", "Fakesweep_Broker_Url", "PGPASSWORD",
    "PGPASSFILE", "DATABASE_URL", "REDIS_URL", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HTTPS_PROXY",
    "SOME_SERVICE_PASSWORD",
)  # fmt: skip


def test_a_loader_starts_with_no_secret_of_ours_and_without_torch(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "hush")
    with pool.open_loader_pool(settings, 2) as opened, opened.one() as one:
        list(one.fetch([]))
        for pid in loader_pids(os.getpid()):
            found = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"hush" not in found
            assert not any(name.encode() in found for name in SECRETS)
            assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()


def test_a_loader_learns_the_keys_of_s3_with_the_first_object_it_fetches(
    settings: Settings, s3: S3Server
) -> None:
    bucket = s3.make_bucket("keys")
    s3.put(bucket, "a.jpg", photograph(0))
    for_s3 = settings.model_copy(
        update={"s3_endpoint_url": s3.endpoint_url, "s3_addressing_style": "path"}
    )
    with pool.open_loader_pool(for_s3, 1) as opened, opened.one() as one:
        [refused] = one.fetch(["https://127.0.0.1:1/a.jpg"])
        [found] = one.fetch([f"s3://{bucket}/a.jpg"])
    assert "failure" in refused
    assert "sha256" in found
