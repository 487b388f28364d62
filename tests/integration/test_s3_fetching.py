"""Fetching from a real S3 server, and from one that refuses and breaks off."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from fakesweep.schema.failures import (
    AccessDenied,
    FetchFailure,
    FetchTimedOut,
    ImageNotFound,
    ImageTooLarge,
    InvalidUri,
    SourceUnavailable,
)
from fakesweep.schema.settings import read_settings
from fakesweep.workers.fetch import Fetcher, open_fetcher, retry
from tests.support.servers import S3Server
from tests.support.web_server import Answer, WebServer, s3_error, web_server


def fetched(uri: str) -> bytes:
    with open_fetcher(read_settings()) as fetcher:
        return fetcher.fetch(uri)


@pytest.mark.parametrize(
    "key",
    ["a.jpg", "ä b+c%20#?&.jpg", "deep/er/no-extension", "~*'()=;:@!$,", "日本 .jpg", "%2e%2e"],
)
def test_an_object_is_fetched_whole_whatever_its_key(s3: S3Server, bucket: str, key: str) -> None:
    content = os.urandom(1_500_000)
    uri = s3.put(bucket, key, content)
    with open_fetcher(read_settings()) as fetcher:
        assert [fetcher.fetch(uri) for _ in range(3)] == [content] * 3


def test_an_empty_object_is_no_failure_of_fetching(s3: S3Server, bucket: str) -> None:
    assert fetched(s3.put(bucket, "empty.jpg", b"")) == b""


def test_one_fetcher_serves_many_threads(s3: S3Server, bucket: str) -> None:
    uris = [s3.put(bucket, f"{number}.jpg", b"%d" % number * 1_000) for number in range(40)]
    with open_fetcher(read_settings()) as fetcher, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(fetcher.fetch, uris))
    assert found == [b"%d" % number * 1_000 for number in range(40)]


def test_an_object_of_the_largest_size_is_fetched_and_one_byte_more_is_too_large(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_MAX_IMAGE_BYTES", "1000")
    assert len(fetched(s3.put(bucket, "fits.jpg", bytes(1_000)))) == 1_000
    with pytest.raises(ImageTooLarge):
        fetched(s3.put(bucket, "large.jpg", bytes(1_001)))


def test_missing_objects_and_buckets_are_not_found(s3: S3Server, bucket: str) -> None:
    there = s3.put(bucket, "a.jpg", b"x")
    with open_fetcher(read_settings()) as fetcher:
        for uri in (f"s3://{bucket}/none.jpg", "s3://no-such-bucket/a.jpg"):
            with pytest.raises(ImageNotFound, match="S3 answers NoSuch"):
                fetcher.fetch(uri)
        assert fetcher.fetch(there) == b"x"
        with pytest.raises(ImageNotFound, match="S3 answers NoSuchKey"):
            fetcher.fetch(f"s3://{bucket}/none.jpg")
        with pytest.raises(InvalidUri):
            fetcher.fetch("s3://no:bucket/a.jpg")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server with the S3 answers of the test."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("FAKESWEEP_S3_ADDRESSING_STYLE", "path")
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "3")
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
    with web_server() as server:
        monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", server.url)
        yield server


TURNS = pytest.mark.parametrize("turn", ["first", "later"])


@contextmanager
def opened(told: WebServer, turn: str) -> Iterator[Fetcher]:
    """Yield a fetcher before the first object of the bucket, or before a later one."""
    with open_fetcher(read_settings()) as fetcher:
        if turn == "later":
            told.always(Answer(200, b"first"))
            assert fetcher.fetch("s3://pictures/first.jpg") == b"first"
            told.requests.clear()
        yield fetcher


@TURNS
@pytest.mark.parametrize(
    ("answer", "failure", "words", "asked"),
    [
        (s3_error(403, "AccessDenied", "no identity-based policy"), AccessDenied, "policy", 1),
        (s3_error(400, "ExpiredToken"), AccessDenied, "ExpiredToken", 1),
        (s3_error(400, "KMS.DisabledException"), AccessDenied, "KMS", 1),
        (s3_error(403, "InvalidObjectState"), AccessDenied, "archived", 1),
        (s3_error(404, "NoSuchKey"), ImageNotFound, "NoSuchKey", 1),
        (s3_error(400, "InvalidRequest"), SourceUnavailable, "InvalidRequest", 1),
        (s3_error(503, "SlowDown"), SourceUnavailable, "3 attempts", 3),
        (s3_error(500, "InternalError"), SourceUnavailable, "3 attempts", 3),
        (s3_error(400, "RequestTimeout"), FetchTimedOut, "3 attempts", 3),
        (Answer(502, b"<html>no XML"), SourceUnavailable, "3 attempts", 3),
        (Answer(200, bytes(100), cut_to=10), SourceUnavailable, "10 of 100 bytes", 3),
    ],
)
def test_a_refusal_becomes_its_failure_and_only_what_may_pass_is_asked_again(
    told: WebServer,
    turn: str,
    *,
    answer: Answer,
    failure: type[FetchFailure],
    words: str,
    asked: int,
) -> None:
    with opened(told, turn) as fetcher:
        told.always(answer)
        with pytest.raises(failure, match=words):
            fetcher.fetch("s3://pictures/a.jpg")
    assert len(told.requests) == asked


@TURNS
def test_what_broke_off_once_is_fetched_by_another_attempt(told: WebServer, turn: str) -> None:
    content = os.urandom(50_000)
    broken, busy = Answer(200, content, cut_to=100), s3_error(503, "SlowDown")
    with opened(told, turn) as fetcher:
        told.in_turn(broken, busy, Answer(200, content))
        assert fetcher.fetch("s3://pictures/a.jpg") == content
    assert len(told.requests) == 3


@TURNS
def test_a_pause_s3_asks_for_is_kept(told: WebServer, turn: str) -> None:
    busy = replace(s3_error(503, "SlowDown"), headers={"Retry-After": "1"})
    with opened(told, turn) as fetcher:
        told.in_turn(busy, Answer(200, b"x"))
        started = time.monotonic()
        assert fetcher.fetch("s3://pictures/a.jpg") == b"x"
    assert time.monotonic() - started >= 1


@TURNS
@pytest.mark.parametrize("body", [b"beginning", b""])
def test_an_object_that_stalls_times_out(
    told: WebServer, turn: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_FETCH_TIMEOUT_SECONDS", "1")
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "2")
    with opened(told, turn) as fetcher:
        told.always(Answer(200, body, {"Content-Length": "100"}, stalls=True))
        with pytest.raises(FetchTimedOut, match=r" 1 s \(2 attempts\)"):
            fetcher.fetch("s3://pictures/a.jpg")
    assert len(told.requests) == 2


@TURNS
def test_an_object_that_drips_times_out_though_it_never_stalls(
    told: WebServer, turn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_FETCH_DEADLINE_SECONDS", "1")
    with opened(told, turn) as fetcher:
        told.always(Answer(200, bytes(10_000), drips=True))
        with pytest.raises(FetchTimedOut, match="not whole within 1 s"):
            fetcher.fetch("s3://pictures/a.jpg")
    assert len(told.requests) == 1


@TURNS
def test_an_object_of_unknown_length_is_cut_at_the_limit(
    told: WebServer, turn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_MAX_IMAGE_BYTES", "1000")
    chunk, end = b"200\r\n" + bytes(512) + b"\r\n", b"0\r\n\r\n"
    with opened(told, turn) as fetcher:
        told.always(Answer(200, chunk + end, {"Transfer-Encoding": "chunked"}))
        assert fetcher.fetch("s3://pictures/a.jpg") == bytes(512)
        told.always(Answer(200, chunk * 3 + end, {"Transfer-Encoding": "chunked"}))
        with pytest.raises(ImageTooLarge):
            fetcher.fetch("s3://pictures/a.jpg")
