"""Requester-pays buckets, public buckets, and compressed objects."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fakesweep.producer.sources import check_source, list_images
from fakesweep.producer.sources.s3.versions import list_versions
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import AccessDenied, ImageTooLarge, SourceUnavailable
from fakesweep.schema.settings import read_settings
from fakesweep.workers.fetch import open_fetcher, retry
from tests.support.servers import s3_server
from tests.support.web_server import Answer, Request, WebServer, s3_error, web_server

PAGE = b"""<ListBucketResult><IsTruncated>false</IsTruncated>
    <Contents><Key>a.jpg</Key><Size>1</Size></Contents></ListBucketResult>"""
VERSIONS = b"""<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>"""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("FAKESWEEP_S3_ADDRESSING_STYLE", "path")
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "2")
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
    with web_server() as server:
        monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", server.url)
        yield server


def fetched(*uris: str) -> list[bytes]:
    """Fetch in sequence by one fetcher: the first by boto3, the others by its route."""
    with open_fetcher(read_settings()) as fetcher:
        return [fetcher.fetch(uri) for uri in uris]


def header(request: Request, name: str) -> str | None:
    found = [value for key, value in request.headers.items() if key.lower() == name]
    return found[0] if found else None


def answer_all(request: Request) -> Answer:
    if "versions" in request.path:
        return Answer(200, VERSIONS)
    return Answer(200, PAGE if "list-type" in request.path else b"s3://pictures/a.jpg\n")


def ask_for_everything() -> None:
    settings = read_settings()
    assert len(list(list_images("s3://pictures/", None, settings))) == 1
    assert len(list(list_images("s3://pictures/list.txt", None, settings))) == 1
    assert list(list_versions("s3://pictures/", None, settings)) == []
    fetched("s3://pictures/a.jpg", "s3://pictures/b.jpg", "s3://pictures;versionId=null/c.jpg")


def who_asked(server: WebServer) -> list[str]:
    return [str(header(request, "user-agent")).partition("/")[0] for request in server.requests]


def test_the_request_payer_is_sent_with_each_request_and_signed(
    told: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.answer = answer_all
    ask_for_everything()
    assert {header(request, "x-amz-request-payer") for request in told.requests} == {None}
    told.requests.clear()
    monkeypatch.setenv("FAKESWEEP_S3_REQUEST_PAYER", "requester")
    ask_for_everything()
    assert {header(request, "x-amz-request-payer") for request in told.requests} == {"requester"}
    assert all(
        "x-amz-request-payer" in str(header(request, "authorization")) for request in told.requests
    )
    assert "fakesweep" in who_asked(told)


def test_without_credentials_nothing_is_signed(
    told: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_S3_UNSIGNED", "true")
    told.answer = answer_all
    ask_for_everything()
    assert {header(request, "authorization") for request in told.requests} == {None}
    assert not any("Signature" in request.path for request in told.requests)
    assert "fakesweep" in who_asked(told)


def test_an_open_bucket_is_listed_and_read_without_any_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("FAKESWEEP_S3_ADDRESSING_STYLE", "path")
    (tmp_path / "s3" / "open-bucket").mkdir(parents=True)
    with s3_server(tmp_path / "s3", signed=False) as server:
        monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", server.endpoint_url)
        uris = [server.put("open-bucket", name, b"x") for name in ("a.jpg", "b.jpg")]
        with pytest.raises(SourceError, match="FAKESWEEP_S3_UNSIGNED"):
            check_source("s3://open-bucket/", read_settings())
        with pytest.raises(AccessDenied, match="FAKESWEEP_S3_UNSIGNED"):
            fetched(*uris)
        monkeypatch.setenv("FAKESWEEP_S3_UNSIGNED", "true")
        check_source("s3://open-bucket/", read_settings())
        listed = list_images("s3://open-bucket/", None, read_settings())
        assert [image.uri for image in listed] == uris
        assert fetched(*uris) == [b"x", b"x"]


def test_what_is_denied_names_the_settings_that_may_help(
    told: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.always(s3_error(403, "AccessDenied"))

    def said() -> list[str]:
        with pytest.raises(SourceError) as listing:
            check_source("s3://pictures/", read_settings())
        with pytest.raises(AccessDenied) as fetching:
            fetched("s3://pictures/a.jpg")
        return [str(listing.value), str(fetching.value)]

    for line in said():
        assert "FAKESWEEP_S3_REQUEST_PAYER=requester" in line
        assert "FAKESWEEP_S3_UNSIGNED=true" in line
    monkeypatch.setenv("FAKESWEEP_S3_REQUEST_PAYER", "requester")
    monkeypatch.setenv("FAKESWEEP_S3_UNSIGNED", "true")
    for line in said():
        assert "FAKESWEEP" not in line


IMAGE = bytes(range(256)) * 400


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(IMAGE)),
        ("deflate", zlib.compress(IMAGE)),
        ("aws-chunked,gzip", gzip.compress(IMAGE)),
        ("aws-chunked", IMAGE),
        ("utf-8", IMAGE),
    ],
)
def test_an_image_that_was_stored_packed_is_unpacked(
    told: WebServer, encoding: str, packed: bytes
) -> None:
    told.always(Answer(200, packed, {"Content-Encoding": encoding}))
    assert fetched("s3://pictures/a.jpg", "s3://pictures/b.jpg") == [IMAGE, IMAGE]
    assert who_asked(told) == ["Boto3", "fakesweep"]


def test_a_packed_bomb_is_too_large_however_small_it_comes(
    told: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.always(Answer(200, gzip.compress(bytes(50_000_000)), {"Content-Encoding": "gzip"}))
    monkeypatch.setenv("FAKESWEEP_MAX_IMAGE_BYTES", "1000000")
    with pytest.raises(ImageTooLarge):
        fetched("s3://pictures/a.jpg")


def test_a_packed_image_that_breaks_off_is_tried_again(told: WebServer) -> None:
    packed = gzip.compress(IMAGE)
    whole = Answer(200, packed, {"Content-Encoding": "gzip"})
    told.in_turn(replace(whole, cut_to=len(packed) // 2), whole)
    assert fetched("s3://pictures/a.jpg") == [IMAGE]


def test_what_only_says_that_it_is_packed_cannot_be_read(told: WebServer) -> None:
    told.always(Answer(200, b"no gzip at all", {"Content-Encoding": "gzip"}))
    with pytest.raises(SourceUnavailable):
        fetched("s3://pictures/a.jpg")
