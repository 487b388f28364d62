"""S3 routes: later objects of a bucket are requested like boto3's first one, without boto3."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from fakesweep.producer.sources import list_images, resolve_source
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import AccessDenied, InvalidUri, SourceUnavailable
from fakesweep.schema.settings import read_settings
from fakesweep.workers.fetch import open_fetcher
from fakesweep.workers.fetch.s3 import MAX_ROUTES
from tests.support.web_server import Answer, Request, WebServer, web_server

STRANGE_KEYS = [
    "a//b.jpg", "/a.jpg", "//a.jpg", "a/../b.jpg", "./a", "a/./b", "a/", "..a", "%2e%2e/%",
    "a\tb\nc", "\x7f\x01", "ä b+c#?&;=", "\u2028\u65e5\U0001f600", "~*'()<>\"\\|",
]  # fmt: skip


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server whose objects contain their requests' paths."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-that-nobody-may-see")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("FAKESWEEP_S3_ADDRESSING_STYLE", "path")
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "1")
    with web_server() as server:
        monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", server.url)
        server.answer = lambda request: Answer(200, request.path.encode())
        yield server


def fetched(*uris: str) -> list[bytes]:
    """Fetch objects in turn, by one fetcher."""
    with open_fetcher(read_settings()) as fetcher:
        return [fetcher.fetch(uri) for uri in uris]


def header(request: Request, name: str) -> str:
    [value] = [value for key, value in request.headers.items() if key.lower() == name]
    return value


def who_asked(server: WebServer) -> list[str]:
    return [header(request, "user-agent").partition("/")[0] for request in server.requests]


def scope(request: Request) -> list[str]:
    """Return the scope of a request's signature: access key, day, region, service, terminator."""
    return header(request, "authorization").partition("=")[2].partition(",")[0].split("/")


def test_boto3_requests_only_the_first_object_of_a_bucket(told: WebServer) -> None:
    fetched("s3://one/a", "s3://one/b", "s3://two/a", "s3://two/b", "s3://one/c")
    assert who_asked(told) == ["Boto3", "fakesweep", "Boto3", "fakesweep", "fakesweep"]
    assert len({header(request, "host") for request in told.requests}) == 1


@pytest.mark.parametrize("key", STRANGE_KEYS)
def test_no_byte_of_a_key_is_lost_on_the_way(told: WebServer, key: str) -> None:
    path = f"/pictures/{quote(key, safe='/~')}".encode()
    assert fetched(f"s3://pictures/{key}", f"s3://pictures/{key}") == [path, path]
    assert who_asked(told) == ["Boto3", "fakesweep"]


@pytest.mark.parametrize("key", ["../private/x", "a/../../private/x", "a//../../private/x", ".."])
def test_no_key_leads_from_an_allowed_bucket_into_another(
    told: WebServer, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("FAKESWEEP_BUCKETS", "allowed")
    fetched("s3://allowed/a")
    with pytest.raises(InvalidUri, match="leads out of its bucket"):
        fetched(f"s3://allowed/{key}")
    for source in (f"s3://allowed/{key}", f"s3://allowed/{key}/list.csv"):
        with pytest.raises(SourceError, match="leads out of its bucket"):
            resolve_source(source)
        with pytest.raises(InvalidUri, match="leads out of its bucket"):
            list(list_images(source, None, read_settings()))
    assert [request.path for request in told.requests] == ["/allowed/a"]


def test_dots_that_a_key_spells_with_percent_signs_are_encoded_once_more(told: WebServer) -> None:
    fetched("s3://allowed/%2e%2e/private/x", "s3://allowed/%2E%2E%2Fprivate/x")
    assert [request.path for request in told.requests] == [
        "/allowed/%252e%252e/private/x", "/allowed/%252E%252E%252Fprivate/x",
    ]  # fmt: skip


def test_a_bucket_in_another_region_is_asked_there(told: WebServer) -> None:
    told.answer = _only_in("eu-west-1")
    assert fetched("s3://pictures/a", "s3://pictures/b") == [b"here", b"here"]
    assert who_asked(told)[-2:] == ["Boto3", "fakesweep"]
    assert [scope(request)[2] for request in told.requests[-2:]] == ["eu-west-1", "eu-west-1"]


@pytest.mark.parametrize("status", [301, 307, 400])
def test_a_bucket_that_moves_is_followed(told: WebServer, status: int) -> None:
    with open_fetcher(read_settings()) as fetcher:
        for key in ("a", "b"):
            fetcher.fetch(f"s3://pictures/{key}")
        told.answer = _only_in("eu-west-1", status)
        for key in ("c", "d", "e"):
            assert fetcher.fetch(f"s3://pictures/{key}") == b"here"
    assert who_asked(told)[-2:] == ["fakesweep", "fakesweep"]


def _only_in(region: str, status: int = 301) -> Callable[[Request], Answer]:
    """Answer as S3 does for a bucket of a region: a request signed for another is redirected."""
    code = "AuthorizationHeaderMalformed" if status == 400 else "PermanentRedirect"
    body = f"<Error><Code>{code}</Code><Region>{region}</Region></Error>".encode()
    sent_there = Answer(status, body, {"x-amz-bucket-region": region})
    return lambda request: Answer(200, b"here") if scope(request)[2] == region else sent_there


def test_a_session_token_goes_along(told: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token/+=")
    fetched("s3://pictures/a", "s3://pictures/b")
    for request in told.requests:
        assert header(request, "x-amz-security-token") == "token/+="
        assert "x-amz-security-token, Signature" in header(request, "authorization")


def test_credentials_that_run_out_are_fetched_anew(
    told: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _give_new_credentials_each_time(monkeypatch, tmp_path)
    with open_fetcher(read_settings()) as fetcher:
        for key in ("a", "b", "c"):
            fetcher.fetch(f"s3://pictures/{key}")
        assert who_asked(told) == ["Boto3", "fakesweep", "fakesweep"]
        assert len({scope(request)[0] for request in told.requests}) == 3
        (tmp_path / "give.py").write_text("raise SystemExit('the vault is sealed')")
        with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID"):
            fetcher.fetch("s3://pictures/d")


def _give_new_credentials_each_time(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    given = {"Version": 1, "SecretAccessKey": "s", "SessionToken": "t", "Expiration": soon}
    (folder / "give.py").write_text(
        f"import json, os\nprint(json.dumps({given} | {{'AccessKeyId': f'AK{{os.getpid()}}'}}))"
    )
    (folder / "config").write_text(
        f"[profile mine]\ncredential_process = {sys.executable} {folder}/give.py\n"
    )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_PROFILE", "mine")


def test_behind_a_proxy_every_object_is_asked_for_by_boto3(
    told: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", "http://s3.example:9000")
    monkeypatch.setenv("HTTP_PROXY", told.url)
    monkeypatch.setenv("http_proxy", told.url)
    urls = [f"http://s3.example:9000/pictures/{key}".encode() for key in ("a", "b")]
    assert fetched("s3://pictures/a", "s3://pictures/b") == urls
    assert who_asked(told) == ["Boto3", "Boto3"]


@pytest.mark.usefixtures("told")
def test_more_buckets_than_routes_are_all_fetched_from() -> None:
    buckets = [f"bucket-{number}" for number in range(MAX_ROUTES + 5)]
    with open_fetcher(read_settings()) as fetcher, ThreadPoolExecutor(8) as threads:
        uris = [f"s3://{bucket}/{number}" for number in range(6) for bucket in buckets]
        paths = [uri.removeprefix("s3:/").encode() for uri in uris]
        assert list(threads.map(fetcher.fetch, uris)) == paths
        assert len(fetcher._s3_reader()._routes) == MAX_ROUTES


@pytest.mark.usefixtures("told")
def test_a_service_that_went_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as fetching:
        with web_server() as leaving:
            leaving.always(Answer(200, b"x", {"Connection": "close"}))
            monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", leaving.url)
            fetcher = fetching.enter_context(open_fetcher(read_settings()))
            fetcher.fetch("s3://pictures/a")
        with pytest.raises(SourceUnavailable, match=r"^S3 cannot be reached: Connection refused$"):
            fetcher.fetch("s3://pictures/b")
