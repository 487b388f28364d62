"""What a URI may reach over HTTP: public addresses and allowed networks, checked as connected."""

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trustme

from fakesweep.producer.sources import check_source, list_images
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import AccessDenied, FetchFailure, SourceUnavailable
from fakesweep.schema.settings import read_settings
from fakesweep.workers.fetch import open_fetcher, retry
from fakesweep.workers.sandbox.pool import open_loader_pool
from tests.support.servers import S3Server, free_port
from tests.support.web_server import Answer, WebServer, web_server

SECRET = "signature-that-nobody-may-see"
REFUSED = "leads to an address that is not public, which is refused (FAKESWEEP_ALLOW_NETWORKS)"
ONE, TWO = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server at 127.0.0.1 that has an image for everybody who gets there."""
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setenv("FAKESWEEP_FETCH_TIMEOUT_SECONDS", "2")
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "2")
    with web_server() as server:
        server.always(Answer(200, b"image"))
        yield server


@pytest.fixture
def trap(server: WebServer) -> Iterator[socket.socket]:
    """The same port at 127.0.0.2, where nobody may connect."""
    with socket.create_server((TWO, server.port)) as listener:
        listener.setblocking(False)
        yield listener
        with pytest.raises(BlockingIOError):
            listener.accept()


def allow(monkeypatch: pytest.MonkeyPatch, *networks: str) -> None:
    monkeypatch.setenv("FAKESWEEP_ALLOW_NETWORKS", ",".join(networks))


def steer(monkeypatch: pytest.MonkeyPatch, name: str, *answers: list[str]) -> list[str]:
    """Have a name lead to these addresses, each answer once, the last for ever; return who asks."""
    really_resolve, left, asked = socket.getaddrinfo, list(answers), []

    def resolve(host: str, *more: Any) -> list[Any]:
        asked.append(host)
        if host != name:
            return really_resolve(host, *more)
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [found for address in addresses for found in really_resolve(address, *more)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def fetched(url: str) -> bytes:
    with open_fetcher(read_settings()) as fetcher:
        return fetcher.fetch(url)


def failure(url: str) -> FetchFailure:
    with pytest.raises(FetchFailure) as raised:
        fetched(f"{url}?sig={SECRET}")
    assert SECRET not in str(raised.value)
    return raised.value


def test_this_machine_is_refused_at_once_and_served_where_it_is_allowed(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = failure(f"{server.url}/a.jpg")
    assert type(refused) is AccessDenied
    assert str(refused) == f"127.0.0.1 {REFUSED}"
    assert server.requests == []
    allow(monkeypatch, "10.0.0.0/8", "127.0.0.0/8")
    assert fetched(f"{server.url}/a.jpg") == b"image"


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LocalHost", "2130706433", "0x7f000001", "0x7f.0.0.1", "017700000001",
        "0177.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "127.0.0.1.", "%31%32%37.0.0.1",
        "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]",
        "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[::1%25lo]", "127\u30020\u30020.1",
        "\uff11\uff12\uff17.0.0.1", "\u2460\u2461\u2466.0.0.1",
    ],
)  # fmt: skip
def test_no_spelling_of_a_private_address_reaches_it(server: WebServer, host: str) -> None:
    assert type(failure(f"http://{host}:{server.port}/a.jpg")) in (AccessDenied, SourceUnavailable)
    assert server.requests == []


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "0177.0.0.1"])
def test_a_spelling_that_resolves_to_a_private_address_is_denied(
    server: WebServer, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    assert type(failure(f"http://{host}:{server.port}/a.jpg")) is AccessDenied
    allow(monkeypatch, ONE)
    assert fetched(f"http://{host}:{server.port}/a.jpg") == b"image"


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/latest/meta-data/",
     "http://168.63.129.16/machine", "http://100.100.100.200/", "https://169.254.170.2/v2"],
)  # fmt: skip
def test_metadata_is_refused_though_the_networks_around_it_are_allowed(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    allow(monkeypatch, "0.0.0.0/0", "::/0")
    assert type(failure(url)) is AccessDenied


@pytest.mark.usefixtures("trap")
def test_a_redirect_to_a_refused_address_is_refused(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, ONE)
    server.always(Answer(302, headers={"Location": f"http://{TWO}:{server.port}/b?key={SECRET}"}))
    refused = failure(f"{server.url}/a.jpg")
    assert type(refused) is AccessDenied
    assert str(refused) == f"127.0.0.2 {REFUSED}"
    assert len(server.requests) == 1


def test_a_name_that_leads_to_a_private_address_is_refused(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    steer(monkeypatch, "images.test", [ONE])
    refused = failure(f"http://images.test:{server.port}/a.jpg")
    assert str(refused) == f"images.test {REFUSED}"
    assert server.requests == []


@pytest.mark.usefixtures("trap")
def test_a_name_that_changes_its_answer_is_connected_to_the_one_that_was_checked(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, ONE)
    asked = steer(monkeypatch, "images.test", [ONE], [TWO])
    url = f"http://images.test:{server.port}/a.jpg"
    with open_fetcher(read_settings()) as fetcher:
        assert fetcher.fetch(url) == b"image"
        assert asked == ["images.test"]
        assert fetcher.fetch(url) == b"image"  # over the connection it has
    assert server.requests[0].headers["Host"] == f"images.test:{server.port}"
    assert type(failure(url)) is AccessDenied


@pytest.mark.usefixtures("trap")
def test_of_several_addresses_only_admitted_ones_are_tried_each_in_turn(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, ONE, "127.0.0.3")
    steer(monkeypatch, "images.test", [TWO, "127.0.0.3", ONE, TWO])
    assert fetched(f"http://images.test:{server.port}/a.jpg") == b"image"


def test_no_proxy_of_the_environment_is_asked(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, server.url)
    assert type(failure("http://10.1.2.3/a.jpg")) is AccessDenied
    assert type(failure("https://10.1.2.3/a.jpg")) is AccessDenied
    with pytest.raises(SourceError, match="is not public"):
        check_source("http://10.1.2.3/list.txt", read_settings())
    assert server.requests == []


class _Image(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"image")

    def log_message(self, *_: object) -> None:
        pass


class _Server(HTTPServer):
    def handle_error(self, *_: object) -> None:
        pass  # that a client distrusts it is the point


@pytest.fixture
def names_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[int, list[str]]]:
    """A TLS server at 127.0.0.1 trusted as `images.test`: its port, and the names it heard."""
    authority = trustme.CA()
    heard: list[str] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("images.test").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context.sni_callback = lambda _socket, name, _context: heard.append(str(name))
    with _Server((ONE, 0), _Image) as listener:
        listener.socket = context.wrap_socket(
            listener.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        yield listener.server_port, heard
        listener.shutdown()
        thread.join()


def test_tls_is_with_the_name_and_not_with_the_address(
    names_asked_for: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, heard = names_asked_for
    steer(monkeypatch, "images.test", [ONE])
    assert type(failure(f"https://images.test:{port}/a.jpg")) is AccessDenied
    assert heard == []
    allow(monkeypatch, ONE)
    assert fetched(f"https://images.test:{port}/a.jpg") == b"image"
    assert heard == ["images.test"]
    steer(monkeypatch, "others.test", [ONE])
    assert "certificate of others.test is refused" in str(failure(f"https://others.test:{port}/a"))
    assert "certificate of 127.0.0.1 is refused" in str(failure(f"https://127.0.0.1:{port}/a"))


@pytest.mark.usefixtures("server")
def test_a_warning_of_another_attempt_shows_no_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    allow(monkeypatch, ONE)
    with pytest.raises(SourceError, match="Connection refused"):
        check_source(f"http://127.0.0.1:{free_port()}/list.txt?{SECRET}", read_settings())
    assert SECRET not in caplog.text


def test_a_manifest_behind_a_url_is_under_the_same_rule(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.always(Answer(200, b"s3://bucket/a.jpg\n"))
    source = f"{server.url}/list.txt?sig={SECRET}"
    with pytest.raises(SourceError) as refusal:
        check_source(source, read_settings())
    assert REFUSED in str(refusal.value)
    assert SECRET not in str(refusal.value)
    with pytest.raises(SourceError):
        list(list_images(source, None, read_settings()))
    assert server.requests == []
    allow(monkeypatch, ONE)
    assert len(list(list_images(source, None, read_settings()))) == 1


@pytest.mark.usefixtures("trap")
def test_a_manifest_that_moved_to_a_refused_address_is_refused(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, ONE)
    server.always(Answer(301, headers={"Location": f"http://{TWO}:{server.port}/l.txt?{SECRET}"}))
    with pytest.raises(SourceError, match=r"127\.0\.0\.2 leads to an address") as refusal:
        check_source(f"{server.url}/list.txt", read_settings())
    assert SECRET not in str(refusal.value)
    assert len(server.requests) == 1


def test_only_named_buckets_are_fetched_from_and_listed(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bucket in ("gate-open", "gate-shut"):
        s3.put(bucket, "a.jpg", b"image")
        s3.put(bucket, "list.txt", b"s3://gate-open/a.jpg\ns3://gate-shut/a.jpg\n")
    monkeypatch.setenv("FAKESWEEP_BUCKETS", "gate-open,another")
    assert fetched("s3://gate-open/a.jpg") == b"image"
    with pytest.raises(AccessDenied, match=r"^bucket 'gate-shut' is refused.*FAKESWEEP_BUCKETS"):
        fetched("s3://gate-shut/a.jpg")
    for key in ("", "a.jpg", "list.txt"):
        check_source(f"s3://gate-open/{key}", read_settings())
        with pytest.raises(SourceError, match=r"bucket 'gate-shut' is refused.*FAKESWEEP_BUCKETS"):
            check_source(f"s3://gate-shut/{key}", read_settings())
        with pytest.raises(SourceError, match="FAKESWEEP_BUCKETS"):
            list(list_images(f"s3://gate-shut/{key}", None, read_settings()))
    assert len(list(list_images("s3://gate-open/list.txt", None, read_settings()))) == 2


def test_a_loader_process_is_told_what_may_be_reached(
    server: WebServer, s3: S3Server, tmp_path: Path
) -> None:
    image = tmp_path / "a.jpg"
    image.write_bytes(os.urandom(100))
    uris = [f"{server.url}/a.jpg", image.as_uri(), s3.put("gate-shut", "b.jpg", b"image")]

    def codes(**changes: object) -> list[str | None]:
        settings = read_settings().model_copy(update=changes)
        with open_loader_pool(settings, 1) as loaders, loaders.one() as loader:
            replies = sorted(loader.fetch(uris), key=lambda reply: reply["number"])
        return [reply.get("failure") for reply in replies]

    assert codes(buckets=("gate-open",)) == ["access_denied"] * 3
    allowed = (ip_network(ONE), ip_network("fd00::/8"))
    assert codes(allow_networks=allowed, file_roots=(tmp_path,), buckets=("gate-shut",)) == [
        None, None, None,
    ]  # fmt: skip
