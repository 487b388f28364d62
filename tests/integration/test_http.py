"""Fetching over HTTP, and manifests behind a URL, against a real server on this machine."""

import gzip
import os
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fakesweep.producer.sources import check_source, list_images
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import (
    AccessDenied,
    FetchFailure,
    FetchTimedOut,
    ImageNotFound,
    ImageTooLarge,
    SourceUnavailable,
)
from fakesweep.schema.settings import read_settings
from fakesweep.workers.fetch import open_fetcher, retry
from tests.support.servers import free_port
from tests.support.web_server import Answer, Request, WebServer, web_server

SECRET = "signature-that-nobody-may-see"


@pytest.fixture(autouse=True)
def _this_machine_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKESWEEP_ALLOW_NETWORKS", "127.0.0.0/8")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "3")
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
    with web_server() as server:
        yield server


def fetched(url: str) -> bytes:
    with open_fetcher(read_settings()) as fetcher:
        return fetcher.fetch(url)


def failure(url: str) -> FetchFailure:
    """Return what fetching a URL, with a secret in its query, comes to."""
    with pytest.raises(FetchFailure) as raised:
        fetched(f"{url}?sig={SECRET}")
    line = str(raised.value)
    assert SECRET not in line
    assert line.isprintable()
    return raised.value


def test_an_image_is_fetched_whole_over_one_connection(server: WebServer) -> None:
    content = os.urandom(2_000_000)
    server.always(Answer(200, content))
    with open_fetcher(read_settings()) as fetcher, ThreadPoolExecutor(4) as threads:
        urls = [f"{server.url}/{number}.jpg" for number in range(8)]
        assert list(threads.map(fetcher.fetch, urls)) == [content] * 8
    assert server.requests[0].headers["User-Agent"].startswith("fakesweep/")


def test_the_address_arrives_as_it_was_written(server: WebServer) -> None:
    server.always(Answer(200, b"x"))
    assert fetched(f"{server.url}/a%20b/%C3%A4.jpg?sig=a%2Fb&x=1") == b"x"
    assert server.requests[0].path == "/a%20b/%C3%A4.jpg?sig=a%2Fb&x=1"


@pytest.mark.parametrize(
    ("status", "kind", "asked"),
    [
        (404, ImageNotFound, 1),
        (410, ImageNotFound, 1),
        (401, AccessDenied, 1),
        (403, AccessDenied, 1),
        (451, AccessDenied, 1),
        (400, SourceUnavailable, 1),
        (418, SourceUnavailable, 1),
        (501, SourceUnavailable, 1),
        (304, SourceUnavailable, 1),
        (408, FetchTimedOut, 3),
        (429, SourceUnavailable, 3),
        (500, SourceUnavailable, 3),
        (503, SourceUnavailable, 3),
    ],
)
def test_a_status_becomes_its_failure_and_only_what_may_pass_is_asked_again(
    server: WebServer, status: int, kind: type[FetchFailure], asked: int
) -> None:
    server.always(Answer(status))
    found = failure(f"{server.url}/a.jpg")
    assert type(found) is kind
    assert f"127.0.0.1 answers {status}" in str(found)
    assert len(server.requests) == asked


def test_what_fails_twice_is_fetched_by_the_third_attempt(server: WebServer) -> None:
    content = os.urandom(30_000)
    server.in_turn(Answer(503), Answer(200, content, cut_to=100), Answer(200, content))
    assert fetched(f"{server.url}/a.jpg") == content


def test_a_pause_the_server_asks_for_is_kept(server: WebServer) -> None:
    server.in_turn(Answer(429, headers={"Retry-After": "1"}), Answer(200, b"x"))
    started = time.monotonic()
    assert fetched(f"{server.url}/a.jpg") == b"x"
    assert time.monotonic() - started >= 1


def test_an_answer_that_breaks_off_is_no_image(server: WebServer) -> None:
    server.always(Answer(200, bytes(1_000), cut_to=10))
    found = failure(f"{server.url}/a.jpg")
    assert type(found) is SourceUnavailable
    assert "broke off" in str(found)
    server.always(Answer(200, b"400\r\nshort", {"Transfer-Encoding": "chunked"}, cut_to=10))
    assert "broke off" in str(failure(f"{server.url}/a.jpg"))


@pytest.mark.parametrize("body", [b"", b"beginning"])
def test_an_answer_that_stalls_times_out(
    server: WebServer, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    monkeypatch.setenv("FAKESWEEP_FETCH_TIMEOUT_SECONDS", "0.5")
    server.always(Answer(200, body, {"Content-Length": "100"}, stalls=True))
    found = failure(f"{server.url}/a.jpg")
    assert type(found) is FetchTimedOut
    assert "within 0.5 s (3 attempts)" in str(found)


def test_an_answer_that_drips_times_out_though_it_never_stalls(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_FETCH_DEADLINE_SECONDS", "1")
    server.always(Answer(200, bytes(10_000), drips=True))
    assert "not whole within 1 s" in str(failure(f"{server.url}/a.jpg"))
    assert len(server.requests) == 1


def test_too_large_is_refused_by_its_announcement_and_by_its_bytes(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_MAX_IMAGE_BYTES", "1000")
    server.always(Answer(200, bytes(1_000)))
    assert len(fetched(f"{server.url}/a.jpg")) == 1_000
    server.always(Answer(200, b"", {"Content-Length": "1001"}, stalls=True))
    assert type(failure(f"{server.url}/a.jpg")) is ImageTooLarge
    chunk = b"400\r\n" + bytes(1_024) + b"\r\n"
    server.always(Answer(200, chunk + b"0\r\n\r\n", {"Transfer-Encoding": "chunked"}))
    assert type(failure(f"{server.url}/a.jpg")) is ImageTooLarge


def test_a_packed_answer_is_unpacked_and_measured_unpacked(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(bytes(100_000))
    server.always(Answer(200, packed, {"Content-Encoding": "gzip"}))
    assert fetched(f"{server.url}/a.jpg") == bytes(100_000)
    monkeypatch.setenv("FAKESWEEP_MAX_IMAGE_BYTES", "50000")
    assert type(failure(f"{server.url}/a.jpg")) is ImageTooLarge
    server.always(Answer(200, b"no gzip at all", {"Content-Encoding": "gzip"}))
    assert type(failure(f"{server.url}/a.jpg")) is SourceUnavailable


def redirecting(location: str, times: int = 1) -> "list[Answer]":
    return [Answer(302, headers={"Location": location})] * times


def test_redirects_are_followed_relative_ones_too(server: WebServer) -> None:
    server.in_turn(
        *redirecting("/b c.jpg"), *redirecting(f"{server.url}/d.jpg", 4), Answer(200, b"x")
    )
    assert fetched(f"{server.url}/a.jpg") == b"x"
    assert [request.path for request in server.requests][:2] == ["/a.jpg", "/b%20c.jpg"]


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("file:///etc/passwd", "file:// address"),
        ("s3://bucket/a.jpg", "s3:// address"),
        ("gopher://host/", "refused"),
        ("http://me:hush@host/a.jpg", "credentials"),
        ("/again.jpg", "more than 5 redirects"),
        ("http://[broken", "refused"),
    ],
)
def test_a_redirect_that_leads_astray_is_refused(
    server: WebServer, location: str, words: str
) -> None:
    server.answer = lambda _: redirecting(location)[0]
    found = failure(f"{server.url}/a.jpg")
    assert type(found) is SourceUnavailable
    assert words in str(found)
    assert "hush" not in str(found)


@pytest.mark.usefixtures("server")
def test_a_server_that_is_not_there_is_unavailable() -> None:
    found = failure(f"http://127.0.0.1:{free_port()}/a.jpg")
    assert type(found) is SourceUnavailable
    assert str(found) == "127.0.0.1 cannot be reached: Connection refused (3 attempts)"


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70, "two..dots"])
def test_a_host_that_cannot_be_found_is_unavailable(host: str) -> None:
    assert type(failure(f"http://{host}/a.jpg")) is SourceUnavailable


def test_no_tls_on_the_other_side_is_said(server: WebServer) -> None:
    found = failure(f"https://127.0.0.1:{server.port}/a.jpg")
    assert type(found) is SourceUnavailable
    assert "TLS" in str(found)


class _Distrusted(HTTPServer):
    def handle_error(self, *_: object) -> None:
        pass  # that a client distrusts it is the point


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """A server whose certificate nobody has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with _Distrusted(("127.0.0.1", 0), BaseHTTPRequestHandler) as listener:
        listener.socket = context.wrap_socket(
            listener.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        yield listener.server_port
        listener.shutdown()
        thread.join()


def test_a_certificate_nobody_signed_is_refused_at_once(tls_port: int) -> None:
    found = failure(f"https://127.0.0.1:{tls_port}/a.jpg")
    assert type(found) is SourceUnavailable
    assert "certificate of 127.0.0.1 is refused: self" in str(found)
    assert "attempts" not in str(found)


def test_a_manifest_may_lie_behind_a_url(server: WebServer) -> None:
    server.always(Answer(200, b"uri\nhttp://host/a.jpg\ngs://b/c.jpg\n"))
    source = f"{server.url}/list.csv?sig={SECRET}"
    check_source(source, read_settings())
    first, second = list_images(source, None, read_settings())
    assert first.uri == "http://host/a.jpg"
    assert second.unreadable is not None
    assert list(list_images(source, first.cursor, read_settings())) == [second]


def test_a_check_reads_the_beginning_of_a_manifest_only(server: WebServer) -> None:
    body = b"http://host/a.jpg\n" * 100_000
    server.always(Answer(200, body, {"Content-Length": str(len(body) * 100)}, stalls=True))
    check_source(f"{server.url}/list.txt", read_settings())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(404), "answers 404"),
        (Answer(503), "503"),
        (Answer(200), "names no image"),
        (Answer(200, b"name\na.jpg\n"), "no column named `uri`"),
        (Answer(302, headers={"Location": "file:///etc/list.csv"}), "cannot be read"),
        (Answer(200, b"uri\na.jpg\n", cut_to=6), "broke off"),
    ],
)
def test_a_manifest_behind_a_url_that_cannot_be_used_is_refused_in_one_line(
    server: WebServer, monkeypatch: pytest.MonkeyPatch, answer: Answer, words: str
) -> None:
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "1")
    server.always(answer)
    with pytest.raises(SourceError, match=words) as refusal:
        check_source(f"{server.url}/list.csv?sig={SECRET}", read_settings())
    assert SECRET not in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_a_manifest_that_breaks_off_is_read_again(server: WebServer) -> None:
    content = b"http://host/a.jpg\n" * 3
    left = [Answer(200, content, cut_to=30), Answer(503), Answer(200, content)]

    def answer(_: Request) -> Answer:
        return left.pop(0)

    server.answer = answer
    images = list(list_images(f"{server.url}/list.txt", None, read_settings()))
    assert [image.cursor for image in images] == ["1", "2", "3"]
