"""Failure codes by each of their causes, and the table of responsibilities."""

import io
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine, text

from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.batches.recovery import QUARANTINED_AFTER, STRIKES, requeue_expired
from fakesweep.schema.ledger.scans.control import RETRYABLE
from fakesweep.schema.settings import Settings
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.process.startup import open_work
from fakesweep.workers.sandbox import losses, pool
from tests.support.batches import publish_scan, result_rows
from tests.support.checkpoints import save_checkpoint
from tests.support.hostile_files import claiming, scan_bomb
from tests.support.photographs import photograph
from tests.support.web_server import Answer, Request, WebServer, web_server

MODEL = "vit-tiny-cifake"
MOST_BYTES = 20 * 1024**2
DOCUMENT = Path(__file__).parents[2] / "docs/guarantees.md"

ANSWERS = {
    "/500.jpg": Answer(500),
    "/503.jpg": Answer(503),
    "/404.jpg": Answer(404),
    "/410.jpg": Answer(410),
    "/403.jpg": Answer(403),
    "/silent.jpg": Answer(200, b"", {"Content-Length": "9"}, stalls=True),
    "/drips.jpg": Answer(200, bytes(10_000), drips=True),
    "/cut.jpg": Answer(200, photograph(1), {"Content-Length": "99999"}, cut_to=50),
}

SERVED = {
    "500.jpg": "unavailable", "503.jpg": "unavailable", "cut.jpg": "unavailable",
    "404.jpg": "not_found", "410.jpg": "not_found", "403.jpg": "access_denied",
    "silent.jpg": "timed_out", "drips.jpg": "timed_out",
}  # fmt: skip


def long_strip() -> bytes:
    """Return a sound picture that is too long for shortest-edge resizing."""
    written = io.BytesIO()
    Image.new("L", (60_000, 1)).save(written, "PNG")
    return written.getvalue()


FILES = {
    "empty.jpg": (b"", "empty"),
    "words.jpg": (b"these are words", "not_an_image"),
    "qoi.jpg": (b"qoif" + bytes(90), "unsupported"),
    "cut.jpg": (photograph(2)[:400], "corrupt"),
    "wide.png": (claiming("PNG", 60_000, 60_000), "too_many_pixels"),
    "slow.jpg": (scan_bomb(12_000, 1_000), "decode_timed_out"),
    "large.jpg": (bytes(MOST_BYTES + 1), "too_large"),
    "sound.jpg": (photograph(3), None),
}


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url="redis://127.0.0.1:1/0",
        device="cpu",
        loaders=1,
        fetch_attempts=1,
        fetch_timeout_seconds=1,
        fetch_deadline_seconds=2,
        decode_timeout_seconds=1,
        max_image_bytes=MOST_BYTES,
        allow_networks=(ip_network("127.0.0.0/8"),),
        file_roots=(tmp_path,),
    )


@pytest.fixture
def work(settings: Settings) -> Iterator[Work]:
    with open_work(settings) as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[WebServer]:
    def answer(request: Request) -> Answer:
        return ANSWERS[request.path]

    with web_server() as opened:
        opened.answer = answer
        yield opened


def codes_of(engine: Engine, work: Work, uris: list[str], model: str = MODEL) -> dict[str, Any]:
    """Return each image's failure code, by URI."""
    [message] = publish_scan(engine, uris, (model,))
    run_batch(message, work)
    return {str(row["uri"]): row["failure_code"] for row in result_rows(engine, message.scan_id)}


def test_each_cause_that_bytes_and_storage_have_comes_to_its_code(
    work: Work, engine: Engine, server: WebServer, tmp_path: Path
) -> None:
    expected: dict[str, Any] = {f"{server.url}/{name}": code for name, code in SERVED.items()}
    for name, (content, code) in FILES.items():
        (tmp_path / name).write_bytes(content)
        expected[f"file://{tmp_path}/{name}"] = code
    expected |= {
        f"file://{tmp_path}/absent.jpg": "not_found",
        "file:///etc/hostname": "access_denied",
        "http://10.0.0.1/a.jpg": "access_denied",
        "gopher://host/a.jpg": "invalid_uri",
    }
    assert codes_of(engine, work, list(expected)) == expected


def test_a_loader_that_is_killed_each_time_comes_to_a_code_of_its_own(
    work: Work, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "KILLED_PAUSES_SECONDS", (0.1, 0.1, 0.1))
    decode = pool.LoaderHandle.decode

    def pressed(loader: pool.LoaderHandle, *asked: Any) -> Iterator[Any]:
        with suppress(ProcessLookupError):
            os.kill(loader._process.pid, signal.SIGKILL)
        return decode(loader, *asked)

    monkeypatch.setattr(pool.LoaderHandle, "decode", pressed)
    uri = f"file://{tmp_path}/a.jpg"
    (tmp_path / "a.jpg").write_bytes(photograph(0))
    assert codes_of(engine, work, [uri]) == {uri: "killed_loader"}


def test_each_cause_that_models_have_comes_to_its_code(
    work: Work, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "strip.png").write_bytes(long_strip())
    uri = f"file://{tmp_path}/strip.png"
    by_shortest_edge = str(save_checkpoint(tmp_path / "convnext", "convnext"))
    assert codes_of(engine, work, [uri], "no-such-model") == {uri: "model_unavailable"}
    assert codes_of(engine, work, [uri], by_shortest_edge) == {uri: "model_failed"}


def test_an_image_that_ends_its_workers_comes_to_its_code(engine: Engine, tmp_path: Path) -> None:
    [message] = publish_scan(engine, [f"file://{tmp_path}/a.jpg"])
    for _ in range(QUARANTINED_AFTER + STRIKES):
        with engine.begin() as connection:
            connection.execute(
                text("""UPDATE ledger.batches
                        SET state = 'running', lease_until = now() - interval '1 second'""")
            )
            requeue_expired(connection)
    [row] = result_rows(engine, message.scan_id)
    assert row["failure_code"] == "killed_worker"


def test_the_document_says_of_each_code_what_causes_it_and_whether_a_retry_helps() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| [^|]+ \|$",
        DOCUMENT.read_text(),
        re.MULTILINE,
    )
    said = {code: helps for code, _, _, helps in rows}
    assert set(said) == set(FailureCode)
    impossible = {code for code, helps in said.items() if helps.startswith("not possible")}
    assert impossible == set(FailureCode) - RETRYABLE
