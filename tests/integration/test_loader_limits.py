"""Limits of a loader: processor time, wall time, its start, its output."""

import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fakesweep.schema.settings import Settings
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.process.startup import open_work
from fakesweep.workers.sandbox import pool
from fakesweep.workers.sandbox.losses import LoaderLost
from tests.support.batches import publish_scan, result_rows, uris_of
from tests.support.hostile_files import scan_bomb, tiff_with
from tests.support.photographs import folder_of_photographs
from tests.support.samples import picture, written


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url="redis://127.0.0.1:1/0",
        device="cpu",
        loaders=2,
        file_roots=(Path("/"),),
    )


def test_an_image_that_burns_processor_time_fails_alone(
    settings: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WALL_TIMES", 60)
    quick = settings.model_copy(update={"decode_timeout_seconds": 1.0})
    rows = _rows_beside(scan_bomb(12_000, 1_000), quick, engine, tmp_path)
    assert [row["failure_code"] for row in rows] == [None, "decode_timed_out", None]
    assert "ran out of processor time" in str(rows[1]["failure_message"])


def test_an_image_that_takes_too_long_by_the_clock_fails_alone(
    settings: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WALL_TIMES", 0.1)
    slow = settings.model_copy(update={"decode_timeout_seconds": 20.0})
    rows = _rows_beside(scan_bomb(12_000, 1_000), slow, engine, tmp_path)
    assert [row["failure_code"] for row in rows] == [None, "decode_timed_out", None]
    assert "did not answer within 2 s" in str(rows[1]["failure_message"])


def _rows_beside(
    content: bytes, settings: Settings, engine: Engine, tmp_path: Path
) -> list[dict[str, object]]:
    """Return the rows of this file and of two photographs around it."""
    folder = folder_of_photographs(tmp_path / "in", 3)
    (folder / "0001.jpg").write_bytes(content)
    [message] = publish_scan(engine, uris_of(folder))
    with open_work(settings) as work:
        run_batch(message, work)
    return result_rows(engine, message.scan_id)


def test_a_loader_killed_while_it_starts_is_nobody_s_failure(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = (
        f"#!/bin/sh\nfor try in 1 2; do\n"
        f'mkdir "{tmp_path}/$try" 2>/dev/null && sleep 0.3 && kill -9 $$\n'
        f'done\nexec {sys.executable} "$@"\n'
    )
    monkeypatch.setattr(sys, "executable", _program(tmp_path, dying))
    uris = uris_of(folder_of_photographs(tmp_path / "in", 3))
    with pool.open_loader_pool(settings, 1) as opened, opened.one() as one:
        assert sum("sha256" in reply for reply in one.fetch(uris)) == 3
    assert (tmp_path / "2").is_dir()


PROMISE = '[{"number": 0, "content": {}, "pixels": [{"offset": 0, "shape": [99999, 99999, 3]}]}]'


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("connection.send_bytes(b'not JSON')", "cannot be read"),
        (r"connection.send_bytes(b'\xff\xfe')", "cannot be read"),
        (r"os.write(connection.fileno(), b'\x7f\xff\xff\xff')", "ended with"),
        (f"connection.send_bytes(b'{PROMISE}')", "pixels that are not there"),
    ],
)
def test_a_loader_that_answers_nonsense_is_lost(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, reason: str
) -> None:
    raving = (
        f"#!{sys.executable}\nimport os, sys\nfrom multiprocessing.connection import Connection\n"
        f"connection = Connection(int(sys.argv[-4]))\nconnection.recv_bytes()\n"
        f"connection.send_bytes(b'[]')\nconnection.recv_bytes()\n{answer}\n"
        f"connection.recv_bytes()\n"
    )
    monkeypatch.setattr(sys, "executable", _program(tmp_path, raving))
    with (
        pytest.raises(LoaderLost, match=reason),
        pool.open_loader_pool(settings, 1) as opened,
        opened.one() as one,
    ):
        list(one.decode([0], [None]))


def test_nothing_that_decoders_say_of_bad_files_reaches_the_worker_s_log(
    settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lzw = bytearray(written(picture(0), "TIFF", compression="tiff_lzw"))
    lzw[2_000:2_400] = b"\xff" * 400
    (tmp_path / "codes.tif").write_bytes(lzw)
    (tmp_path / "samples.tif").write_bytes(tiff_with((277, 1, 2**32 - 1)))
    with pool.open_loader_pool(settings, 1) as opened, opened.one() as one:
        list(one.fetch(uris_of(tmp_path)))
        replies = [reply for reply, _ in one.decode([0, 1], [None])]
    assert {reply["failure"] for reply in replies} == {"corrupt"}
    assert capfd.readouterr() == ("", "")


def _program(folder: Path, text: str) -> str:
    program = folder / "python"
    program.write_text(text)
    program.chmod(0o755)
    return str(program)
