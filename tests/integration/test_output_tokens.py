"""Idempotency tokens of scans, and checks of output destinations."""

import multiprocessing
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from fakesweep.producer.outputs.destinations import check_destination, resolve_destination
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.scans import AskedScan, ScanRequest, add_scan, ask_for_scan, record_request
from fakesweep.schema.errors import OutputError, ScanError
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.selection import Selection
from fakesweep.schema.settings import Settings, read_settings
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import value
from tests.support.photographs import folder_of_photographs
from tests.support.servers import S3Server


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(database_url=database_url, broker_url=broker_url)


@pytest.fixture
def producer(settings: Settings) -> Iterator[Producer]:
    with open_producer(settings, read_catalogue(None)) as opened:
        yield opened


@pytest.fixture
def photographs(tmp_path: Path) -> str:
    return str(folder_of_photographs(tmp_path / "in", 2))


def request_for(*sources: str, **changes: Any) -> ScanRequest:
    return replace(
        ScanRequest(sources, ("vit-tiny-cifake",), Lane.BULK, "default", token="june"),
        **changes,
    )


def scans(engine: Engine) -> int:
    return int(value(engine, "SELECT count(*) FROM ledger.scans"))


def test_a_repeated_request_with_a_token_returns_the_same_scan(
    producer: Producer, engine: Engine, photographs: str, tmp_path: Path
) -> None:
    request = request_for(photographs, output=str(tmp_path / "out"), name="a")
    first = ask_for_scan(producer, request)
    assert first == AskedScan(first.scan_id, is_new=True)
    (tmp_path / "out" / "results").mkdir()
    shutil.rmtree(photographs)
    again = replace(request, name="b", sources=(f"{photographs}/../in/",))
    assert ask_for_scan(producer, again) == AskedScan(first.scan_id, is_new=False)
    assert add_scan(producer, request) == first.scan_id
    with engine.begin() as connection:
        assert record_request(connection, producer, request) == first.scan_id
    assert scans(engine) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"policy": "card"}, 'policy "default", not "card"'),
        ({"lane": Lane.LIVE}, 'lane "bulk", not "live"'),
        ({"models": ("deepguard",)}, 'models ["vit-tiny-cifake"], not ["deepguard"]'),
        ({"is_audit": True}, "is_audit false, not true"),
        ({"selection": Selection(include=("*.png",))}, 'selection {}, not {"include": ["*.png"]}'),
        ({"output": "s3://elsewhere"}, 'output null, not ["s3://elsewhere/", null]'),
        ({"sources": ("s3://elsewhere/",)}, "sources [["),
    ],
)
def test_another_request_with_the_same_token_is_refused_by_what_differs(
    producer: Producer, photographs: str, changes: dict[str, Any], said: str
) -> None:
    scan_id = add_scan(producer, request_for(photographs))
    with pytest.raises(ScanError) as refused:
        add_scan(producer, request_for(photographs, **{"sources": (photographs,), **changes}))
    line = str(refused.value)
    assert line.startswith(f"scan {scan_id} was asked for with the token 'june' and {said}")
    assert line.count(", not ") == 1


def test_the_same_choices_are_the_same_request(producer: Producer, photographs: str) -> None:
    chosen = Selection(include=("*.jpg", "*.png"), max_bytes=10_000, since="7d")
    request = request_for(photographs, selection=chosen)
    assert add_scan(producer, request) == add_scan(producer, request)


@pytest.mark.parametrize("token", ["", "x" * 65, "a\nb", b"\\udcff".decode("unicode_escape")])
def test_a_token_of_other_letters_is_refused(
    producer: Producer, photographs: str, token: str
) -> None:
    with pytest.raises(ScanError, match="1 to 64 printable characters"):
        add_scan(producer, request_for(photographs, token=token))


def _ask_and_tell(settings: Settings, request: ScanRequest, answers: Any) -> None:
    with open_producer(settings, read_catalogue(None)) as producer:
        asked = ask_for_scan(producer, request)
    answers.put((asked.scan_id, asked.is_new))


def test_of_processes_that_ask_with_one_token_at_once_one_makes_the_scan(
    settings: Settings, engine: Engine, photographs: str, tmp_path: Path
) -> None:
    request = request_for(photographs, output=str(tmp_path / "out"))
    processes = multiprocessing.get_context("fork")
    answers = processes.SimpleQueue()
    given = (settings, request, answers)
    asking = [processes.Process(target=_ask_and_tell, args=given, daemon=True) for _ in range(4)]
    for process in asking:
        process.start()
    for process in asking:
        process.join(60)
        assert process.exitcode == 0
    found = [answers.get() for _ in asking]
    assert len({scan_id for scan_id, _ in found}) == 1
    assert [is_new for _, is_new in found].count(True) == 1
    assert scans(engine) == 1


def test_a_request_that_is_refused_leaves_its_token_and_its_output_free(
    producer: Producer, engine: Engine, photographs: str, tmp_path: Path
) -> None:
    mine = tmp_path / "out"
    mine.mkdir()
    (mine / "file").touch()
    request = request_for(photographs, output=str(mine))
    with pytest.raises(OutputError, match="not empty"):
        add_scan(producer, request)
    assert scans(engine) == 0
    (mine / "file").unlink()
    scan_id = add_scan(producer, request)
    with pytest.raises(OutputError, match=f"the output of scan {scan_id} goes to"):
        add_scan(producer, replace(request, token="july"))
    assert scans(engine) == 1


def test_a_prefix_must_be_free_and_looking_leaves_no_object(s3: S3Server) -> None:
    s3.make_bucket("checked")
    destination = resolve_destination("s3://checked/june")
    s3.put("checked", "june-old.txt", b"another prefix")
    check_destination(destination, read_settings())
    check_destination(destination, read_settings())
    objects = [path.name for path in s3.root.glob("checked/**/*") if path.is_file()]
    assert objects == ["june-old.txt"]
    s3.put("checked", "june/mine.txt", b"mine")
    with pytest.raises(OutputError, match=r"not empty \(it holds 'june/mine.txt'\)"):
        check_destination(destination, read_settings())


def test_a_bucket_that_cannot_be_written_is_refused_when_it_is_named(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.make_bucket("checked")
    with pytest.raises(OutputError, match="does not exist"):
        check_destination(resolve_destination("s3://nobodys/x"), read_settings())
    monkeypatch.setenv("FAKESWEEP_BUCKETS", "photos")
    with pytest.raises(OutputError, match="FAKESWEEP_BUCKETS"):
        check_destination(resolve_destination("s3://checked/x"), read_settings())
    monkeypatch.delenv("FAKESWEEP_BUCKETS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(OutputError, match="s3:PutObject"):
        check_destination(resolve_destination("s3://checked/x"), read_settings())


def test_an_s3_service_that_is_down_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    down = Settings(s3_endpoint_url="http://127.0.0.1:9", fetch_attempts=1)
    with pytest.raises(OutputError, match="does not answer"):
        check_destination(resolve_destination("s3://checked/x"), down)
