"""Connections of the API: slow clients, limits, and ambiguous requests."""

import json
import re
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.api_answers import ONE, code_of
from tests.support.api_server import ApiProcess, Serving, make_token, running_api
from tests.support.servers import wait_until

HURRY = """
import resource
from fakesweep.producer.api import submission_body
from fakesweep.serving import protocol, request_slots
resource.setrlimit(resource.RLIMIT_NOFILE, (512, 4096))
protocol.HEAD_SECONDS = protocol.SEND_SECONDS = protocol.LEAVE_SECONDS = 0.5
submission_body.GRACE_SECONDS = 0.5
request_slots.MOST_FOR_TOKEN, request_slots.WAIT_SECONDS = 3, 0.1
"""
FEW_FILES = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (72, 72))"
GET = b"GET /v1/health HTTP/1.1\r\nHost: api\r\n\r\n"


@pytest.fixture(scope="module")
def hurried(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    """An API whose deadlines are short, behind a proxy on the loopback."""
    settings = serving.settings | {"API_TRUSTED_PROXIES": "127.0.0.2/32"}
    with running_api(settings, tmp_path_factory.mktemp("hurried"), before=HURRY) as api:
        yield api


def connected(api: ApiProcess, source: str = "127.0.0.1") -> socket.socket:
    address = urlsplit(api.url)
    assert address.port is not None
    return socket.create_connection(("127.0.0.1", address.port), 20, (source, 0))


def said(connection: socket.socket) -> bytes:
    """Return all bytes up to the server's close."""
    pieces = []
    while piece := connection.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)


def is_gone(connection: socket.socket) -> bool:
    """Return whether the server has closed, without a read of its answer."""
    try:
        connection.setblocking(False)
        connection.send(b"a")
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def submission(token: str, length: int) -> bytes:
    return (
        f"POST /v1/images HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: 60\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (b"Content-Length: 0\r\nContent-Length: 0\r\n", b""),
        (b"X-A: a\r\n b\r\n", b""),
        (b"X-A: a\nContent-Length: 0\r\n", b""),
        (b"X-A: a\x00b\r\n", b""),
        (b"Transfer-Encoding: chunked\r\n", b"2;a=b\r\n{}\r\n0\r\n\r\n"),
    ],
    ids=["length and coding", "two lengths", "folded", "bare LF", "NUL", "chunk extension"],
)
def test_a_request_of_two_readings_is_refused_and_nothing_behind_it_is_read(
    serving: Serving, headers: bytes, body: bytes
) -> None:
    with connected(serving.api) as connection:
        connection.sendall(b"POST /v1/images HTTP/1.1\r\nHost: api\r\n" + headers + b"\r\n" + body)
        connection.sendall(GET)
        head, _, answer = said(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert b"\r\nConnection: close" in head
    assert json.loads(answer)["code"] == "malformed"


def test_a_pipelining_client_gets_one_answer_and_is_disconnected(serving: Serving) -> None:
    with connected(serving.api) as connection:
        connection.sendall(GET * 500)
        answer = said(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_strangers_get_one_answer_a_connection_and_callers_keep_theirs(serving: Serving) -> None:
    token = make_token(serving.engine, "keeps")
    asked = f"GET /v1/scans/1 HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\n\r\n"
    with connected(serving.api) as connection:
        for _ in range(3):
            connection.sendall(asked.encode())
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(65_536)
            assert b"\r\nconnection: close" not in answer.lower()
    for begun in (GET, b"GET /v1/scans/1 HTTP/1.1\r\nHost: api\r\n\r\n"):
        with connected(serving.api) as connection:
            connection.sendall(begun)
            assert b"\r\nconnection: close" in said(connection).lower()


@pytest.mark.parametrize("begun", [b"", b"GET", GET[:-2], GET + GET[:-2]])
def test_headers_that_do_not_end_are_not_waited_for(hurried: ApiProcess, begun: bytes) -> None:
    with connected(hurried) as connection:
        connection.sendall(begun)
        wait_until(lambda: is_gone(connection), "the connection is ended")


def test_an_unread_answer_is_dropped(hurried: ApiProcess) -> None:
    with connected(hurried) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: api\r\n\r\n")
        wait_until(lambda: is_gone(connection), "the connection is ended")


def test_a_body_that_drips_is_not_waited_for(serving: Serving, hurried: ApiProcess) -> None:
    with connected(hurried) as connection:
        connection.sendall(submission(make_token(serving.engine, "drips"), 1_000) + b"{")
        answer = said(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"too_slow"' in answer


def test_an_answer_before_the_end_of_a_body_can_be_read(serving: Serving) -> None:
    with connected(serving.api) as connection:
        connection.sendall(submission("fsw_" + "A" * 43, 40_000) + b"{")
        for _ in range(39):
            connection.sendall(b"a" * 1_000)
        answer = said(connection)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nconnection: close" in answer.lower()


def test_requests_under_way_are_bounded_for_each_token(
    serving: Serving, hurried: ApiProcess
) -> None:
    busy, other = make_token(serving.engine, "busy"), make_token(serving.engine, "beside")
    with ExitStack() as held:
        for _ in range(3):
            connection = held.enter_context(connected(hurried))
            connection.sendall(submission(busy, 9_000) + b" " * 4_000)
        with hurried.client(busy) as client:

            def refused() -> bool:
                answer = client.get("/v1/scans/1")
                if answer.status_code != 429:
                    return False
                assert code_of(answer) == "too_many_at_once"
                assert int(answer.headers["retry-after"]) == 1
                return True

            wait_until(refused, "the token's places are taken")
        with hurried.client(other) as client:
            assert client.post("/v1/images", json=ONE).status_code == 202
    with hurried.client(busy) as client:
        wait_until(
            lambda: client.post("/v1/images", json=ONE).status_code == 202, "a place is free again"
        )


def test_an_api_takes_all_the_open_files_it_may_have(hurried: ApiProcess) -> None:
    limits = Path(f"/proc/{hurried.process.pid}/limits").read_text()
    assert re.search(r"Max open files +4096 +4096 ", limits), limits
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 4_096


@pytest.mark.parametrize(("source", "client"), [("127.0.0.1", None), ("127.0.0.2", "192.0.2.7")])
def test_a_proxy_is_believed_where_it_is_trusted(
    hurried: ApiProcess, source: str, client: str | None
) -> None:
    with connected(hurried, source) as connection:
        path = f"/from-{source}"
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n"
            f"X-Forwarded-For: 198.51.100.1, 192.0.2.7\r\n\r\n".encode()
        )
        assert said(connection).startswith(b"HTTP/1.1 404 ")
    wait_until(
        lambda: any(line["path"] == path for line in hurried.events("request_answered")),
        "it is logged",
    )
    [line] = [one for one in hurried.events("request_answered") if one["path"] == path]
    assert line["client"] == (client or source)


def test_without_files_for_more_connections_callers_go_on_and_the_log_stays_short(
    serving: Serving, tmp_path: Path
) -> None:
    token = make_token(serving.engine, "few files")
    with running_api(serving.settings, tmp_path, before=FEW_FILES) as api, ExitStack() as held:
        for _ in range(200):
            connection = held.enter_context(connected(api))
            connection.sendall(GET[:-2])
        with api.client(token) as client:
            answers = [client.post("/v1/images", json=ONE).status_code for _ in range(5)]
        assert answers == [202] * 5
        held.close()
        with api.client(token) as client:
            assert client.post("/v1/images", json=ONE).status_code == 202
        said = api.events("out_of_open_files") + api.events("few_open_files")
        assert 1 <= len(said) <= 3
        assert all("ulimit -n" in line["cure"] for line in said)
        assert "Traceback" not in api.log.read_text()
