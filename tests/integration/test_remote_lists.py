"""Remote lists: timeouts, size limits and redirects."""

import gzip
import time
from collections.abc import Callable, Iterator

import pytest

from fakesweep.producer.sources import check_source, list_images
from fakesweep.producer.sources.deadlines import MOST_ANSWER_BYTES
from fakesweep.producer.sources.s3 import prefix as s3_source
from fakesweep.schema.errors import SourceError
from fakesweep.schema.settings import read_settings
from tests.support.dripping_server import DrippingServer, dripping_server
from tests.support.web_server import Answer, WebServer, web_server

LINE = b"s3://pictures/a.jpg\n"
HTTP, S3 = "http", "s3"


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("FAKESWEEP_S3_ADDRESSING_STYLE", "path")
    monkeypatch.setenv("FAKESWEEP_ALLOW_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "2")


@pytest.fixture
def dripping(monkeypatch: pytest.MonkeyPatch) -> Iterator[DrippingServer]:
    with dripping_server() as server:
        monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", server.url)
        monkeypatch.setenv("FAKESWEEP_LIST_TIMEOUT_SECONDS", "0.5")
        yield server


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    with web_server() as server:
        monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", server.url)
        yield server


def source_in(where: str, url: str, name: str = "list.txt") -> str:
    return f"{url}/{name}" if where == HTTP else f"s3://lists/{name}"


def listed(source: str) -> list[str]:
    return [image.uri for image in list_images(source, None, read_settings())]


def refusal(ask: Callable[[], object]) -> str:
    with pytest.raises(SourceError) as refused:
        ask()
    assert str(refused.value).isprintable()
    return str(refused.value)


@pytest.mark.parametrize("where", [HTTP, S3])
@pytest.mark.parametrize(
    ("start", "drip"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Drip: 1\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", LINE),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", LINE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
            gzip.compress(b""),
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 1000000\r\n\r\n", b"x"),
    ],
    ids=[
        "status", "headers", "one-header", "body", "endless", "closing", "chunks", "chunk-sizes",
        "nothing-unpacked", "interim", "error",
    ],
)  # fmt: skip
def test_a_dripping_list_is_given_up_in_time(
    dripping: DrippingServer, where: str, start: bytes, drip: bytes
) -> None:
    dripping.start, dripping.drip = start, drip
    began = time.monotonic()
    said = refusal(lambda: listed(source_in(where, dripping.url)))
    assert time.monotonic() - began < 30
    if b"404" in start and where == HTTP:
        assert "answers 404" in said
    else:
        assert "was not whole within 0.5 s" in said
        assert "FAKESWEEP_LIST_TIMEOUT_SECONDS" in said


@pytest.mark.parametrize("where", [HTTP, S3])
def test_a_list_that_drips_is_given_up_when_it_is_asked_for_too(
    dripping: DrippingServer, where: str
) -> None:
    dripping.start = b"HTTP/1.1 200 OK\r\n\r\n"
    dripping.drip = b"\n"
    source = source_in(where, dripping.url)
    assert "was not whole" in refusal(lambda: check_source(source, read_settings()))


@pytest.mark.parametrize("source", ["s3://pictures/2024/", "s3://lists/manifest.json"])
def test_a_page_of_a_bucket_or_an_inventory_that_drips_is_given_up_too(
    dripping: DrippingServer, source: str
) -> None:
    dripping.start = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n\r\n<ListBucketResult>"
    dripping.drip = b"<Contents>"
    refusal(lambda: listed(source))


@pytest.mark.parametrize("where", [HTTP, S3])
@pytest.mark.parametrize("packed", [False, True])
def test_a_list_that_is_too_large_is_refused_packed_or_not(
    told: WebServer, monkeypatch: pytest.MonkeyPatch, where: str, packed: bool
) -> None:
    body, headers = LINE * 100_000, {}
    if packed:
        body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
        assert len(body) < 10_000
    told.always(Answer(200, body, headers))
    monkeypatch.setenv("FAKESWEEP_MAX_LIST_BYTES", "1000000")
    said = refusal(lambda: listed(source_in(where, told.url)))
    assert "more than 1000000 bytes" in said
    assert "FAKESWEEP_MAX_LIST_BYTES" in said
    monkeypatch.setenv("FAKESWEEP_MAX_LIST_BYTES", "2000000")
    assert len(listed(source_in(where, told.url))) == 100_000


def test_a_page_of_a_bucket_that_never_ends_is_refused(
    told: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "1")
    monkeypatch.setattr("fakesweep.producer.sources.deadlines.MOST_ANSWER_BYTES", 1_000)
    assert MOST_ANSWER_BYTES > 100 * s3_source.PAGE_KEYS
    told.always(Answer(200, b"<ListBucketResult>" + b"<Contents/>" * 1_000))
    assert "more than 1000 bytes" in refusal(lambda: listed("s3://pictures/"))


@pytest.mark.parametrize(
    ("where", "encoding"),
    [
        (HTTP, "gzip"), (HTTP, "GZIP"), (S3, "gzip"), (S3, "GZIP"),
        (S3, "aws-chunked,gzip"), (S3, "gzip, aws-chunked"),
    ],
)  # fmt: skip
def test_a_manifest_that_was_stored_packed_is_unpacked(
    told: WebServer, where: str, encoding: str
) -> None:
    told.always(Answer(200, gzip.compress(LINE * 3), {"Content-Encoding": encoding}))
    source = source_in(where, told.url)
    check_source(source, read_settings())
    assert listed(source) == ["s3://pictures/a.jpg"] * 3


@pytest.mark.parametrize("encoding", ["aws-chunked", "identity", "utf-8", ""])
def test_words_that_pack_nothing_change_nothing(told: WebServer, encoding: str) -> None:
    told.always(Answer(200, LINE, {"Content-Encoding": encoding}))
    assert listed("s3://lists/list.txt") == ["s3://pictures/a.jpg"]


def test_a_packed_manifest_that_breaks_off_is_no_short_list(told: WebServer) -> None:
    packed = gzip.compress(b"".join(b"s3://pictures/%d.jpg\n" % number for number in range(999)))
    told.always(Answer(200, packed, {"Content-Encoding": "gzip"}, cut_to=len(packed) // 2))
    assert "broke off" in refusal(lambda: listed("s3://lists/list.txt"))


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://me:hush@127.0.0.1/list.txt", "credentials"),
        ("//me:hush@127.0.0.1/list.txt", "credentials"),
        ("http://me@127.0.0.1/list.txt", "credentials"),
        ("http://:hush@127.0.0.1/", "credentials"),
        ("file:///etc/passwd", "file:// address"),
        ("s3://lists/list.txt", "s3:// address"),
        ("gopher://host/", "refused"),
        ("http://[broken", "refused"),
        ("/again.txt", "more than 5 redirects"),
    ],
)
def test_a_manifests_redirect_that_leads_astray_is_refused(
    told: WebServer, location: str, words: str
) -> None:
    told.always(Answer(302, headers={"Location": location}))
    said = refusal(lambda: listed(f"{told.url}/list.txt"))
    assert words in said
    assert "hush" not in said
    assert {request.path for request in told.requests} <= {"/list.txt", "/again.txt"}


def test_a_manifests_redirect_to_an_address_inside_is_refused(
    told: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_ALLOW_NETWORKS", "127.0.0.1/32")
    told.always(Answer(302, headers={"Location": f"http://127.0.0.2:{told.port}/list.txt"}))
    assert "not public" in refusal(lambda: listed(f"{told.url}/list.txt"))


def test_a_manifests_redirects_are_followed_relative_ones_too(told: WebServer) -> None:
    told.in_turn(
        Answer(302, headers={"Location": "/b c.txt"}),
        Answer(307, headers={"Location": f"{told.url}/c.txt"}),
        Answer(503),
        Answer(200, LINE),
    )
    assert listed(f"{told.url}/list.txt") == ["s3://pictures/a.jpg"]
    assert [request.path for request in told.requests][1:3] == ["/b%20c.txt", "/c.txt"]
