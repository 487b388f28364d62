"""Listing a real S3 server, and one that refuses and breaks off."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakesweep.producer.sources import check_source, list_images
from fakesweep.producer.sources.s3 import prefix as s3_source
from fakesweep.producer.sources.s3.prefix import opened_prefix
from fakesweep.schema.errors import SourceError
from fakesweep.schema.ledger.scans.scans import ListedImage
from fakesweep.schema.settings import read_settings
from fakesweep.workers.fetch import retry
from tests.support.servers import S3Server
from tests.support.web_server import Answer, WebServer, s3_error, web_server


def listed(source: str, cursor: str | None = None) -> list[ListedImage]:
    return list(list_images(source, cursor, read_settings()))


def refusal(source: str) -> str:
    """Return the error line of `check_source`."""
    with pytest.raises(SourceError) as refused:
        check_source(source, read_settings())
    assert str(refused.value).isprintable()
    return str(refused.value)


def test_keys_that_end_like_images_or_in_no_extension_are_listed(s3: S3Server, bucket: str) -> None:
    for key in ("a.jpg", "b.PNG", "c.txt", "uploads/4f2a", "uploads/.keep", "uploads/d.jpg.bak"):
        s3.put(bucket, key, b"image")
    images = listed(f"s3://{bucket}/")
    assert [image.uri for image in images] == [
        f"s3://{bucket}/a.jpg", f"s3://{bucket}/b.PNG", f"s3://{bucket}/uploads/4f2a",
    ]  # fmt: skip
    first = images[0]
    assert first.size_bytes == 5
    assert first.etag == "78805a221a988e79ef3f42d7c5bfd418"
    assert first.modified_at is not None
    assert abs((datetime.now(UTC) - first.modified_at).total_seconds()) < 600


def test_a_prefix_is_plain_text_and_a_slash_makes_it_a_folder(s3: S3Server, bucket: str) -> None:
    for key in ("2024/a.jpg", "2024-old.jpg", "2023/b.jpg"):
        s3.put(bucket, key, b"x")
    assert len(listed(f"s3://{bucket}/2024")) == 2
    assert len(listed(f"s3://{bucket}/2024/")) == 1


def test_a_whole_key_that_ends_like_an_image_is_that_one_image(s3: S3Server, bucket: str) -> None:
    uri = s3.put(bucket, "a.jpg", b"x")
    s3.put(bucket, "a.jpg.large.jpg", b"x")
    [image] = listed(uri)
    assert image.uri == uri
    assert listed(uri, image.cursor) == []
    assert len(listed(f"s3://{bucket}/a")) == 2


def test_pages_follow_one_another_without_gap_or_repeat(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_source, "PAGE_KEYS", 7)
    keys = sorted(f"{number % 5}/{number:03}.jpg" for number in range(60))
    for key in keys:
        s3.put(bucket, key, b"x")
    assert [image.uri for image in listed(f"s3://{bucket}/")] == [
        f"s3://{bucket}/{key}" for key in keys
    ]


def test_more_than_a_servers_page_is_listed(s3: S3Server, bucket: str) -> None:
    for number in range(1_001):
        s3.put(bucket, f"{number:04}.jpg", b"")
    assert len(listed(f"s3://{bucket}/")) == 1_001


KEYS = st.lists(st.text("ab -+%é\u65e5.#", min_size=1, max_size=3), min_size=1, max_size=2)


@settings(
    max_examples=4,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sets(KEYS.map(lambda parts: "-/".join(parts) + ".jpg"), min_size=2, max_size=4))
def test_listing_from_any_cursor_is_the_rest_of_the_listing(
    s3: S3Server, bucket: str, keys: set[str]
) -> None:
    for old in Path(s3.root / bucket).rglob("*.jpg"):
        old.unlink()
    s3.forget()
    for key in keys:
        s3.put(bucket, key, b"x")
    source = f"s3://{bucket}/"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3_source, "PAGE_KEYS", 2)
        images = listed(source)
        assert {image.uri for image in images} == {f"{source}{key}" for key in keys}
        for number, image in enumerate(images, start=1):
            assert listed(source, image.cursor) == images[number:]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.txt", "{uri}\nrelative.jpg\n/shared/b.jpg\n"),
        ("list.csv", "uri\n{uri}\nrelative.jpg\n/shared/b.jpg\n"),
        ("list.jsonl", '{{"uri":"{uri}"}}\n{{"uri":"relative.jpg"}}\n{{"uri":"/shared/b.jpg"}}\n'),
    ],
)
def test_a_manifest_may_lie_in_s3(s3: S3Server, bucket: str, name: str, content: str) -> None:
    source = s3.put(bucket, name, content.format(uri=f"s3://{bucket}/a.jpg").encode())
    check_source(source, read_settings())
    first, second, third = listed(source)
    assert first.uri == f"s3://{bucket}/a.jpg"
    assert second.uri.startswith(f"{source}#line-")
    assert second.unreadable is not None
    assert "relative path" in second.unreadable
    assert third.uri == "file:///shared/b.jpg"
    assert listed(source, second.cursor) == [third]


def test_what_holds_nothing_is_refused(s3: S3Server, bucket: str) -> None:
    s3.put(bucket, "notes.txt", b"# nothing\n")
    assert "matches no image" in refusal(f"s3://{bucket}/none/")
    assert "matches no image" in refusal(f"s3://{bucket}/notes")
    assert "names no image" in refusal(f"s3://{bucket}/notes.txt")
    assert "does not exist" in refusal(f"s3://{bucket}/none.csv")


def test_a_bucket_that_does_not_exist_is_refused_by_name(s3: S3Server) -> None:
    line = refusal("s3://no-such-bucket/photos/")
    assert "bucket 'no-such-bucket' does not exist" in line
    assert s3.endpoint_url in line


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A scripted S3 server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("FAKESWEEP_S3_ADDRESSING_STYLE", "path")
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "3")
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
    with web_server() as server:
        monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", server.url)
        yield server


def test_listing_asks_again_while_s3_is_busy(told: WebServer) -> None:
    told.in_turn(s3_error(503, "InternalError"), page(["a.jpg"]))
    assert [image.uri for image in listed("s3://pictures/")] == ["s3://pictures/a.jpg"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (s3_error(403, "AccessDenied"), "s3:ListBucket"),
        (s3_error(500, "InternalError"), "answers InternalError"),
        (Answer(200, b"<html>a page like any other</html>"), "is no S3 service"),
        (Answer(200, b"no XML"), "cannot be read"),
    ],
)
def test_a_bucket_that_cannot_be_listed_is_refused_in_one_line(
    told: WebServer, answer: Answer, words: str
) -> None:
    told.always(answer)
    line = refusal("s3://pictures/2024/")
    assert "s3://pictures/2024/" in line
    assert words in line


def page(keys: list[str], token: str | None = None) -> Answer:
    contents = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    truncated = str(token is not None).lower()
    return Answer(
        200,
        f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{truncated}</IsTruncated>"
        f"{contents}{more}</ListBucketResult>".encode(),
        {"Content-Type": "application/xml"},
    )


def test_an_empty_page_in_the_middle_is_not_the_end(told: WebServer) -> None:
    told.in_turn(page(["a.jpg"], "1"), page([], "2"), page(["b.jpg"]))
    assert len(listed("s3://pictures/")) == 2
    assert ["start-after=a.jpg" in request.path for request in told.requests] == [
        False, True, False,
    ]  # fmt: skip
    assert "continuation-token=2" in told.requests[2].path


def test_a_server_that_lists_in_no_order_is_refused_before_images_are_lost(told: WebServer) -> None:
    told.always(page(["a.jpg", "b.jpg"], "1"))
    images = list_images("s3://pictures/", None, read_settings())
    assert [next(images).uri, next(images).uri] == ["s3://pictures/a.jpg", "s3://pictures/b.jpg"]
    with pytest.raises(SourceError, match="order of its keys"):
        next(images)


@pytest.mark.parametrize("token", ["1", ""])
def test_a_listing_that_does_not_go_on_ends_with_its_reason(told: WebServer, token: str) -> None:
    told.in_turn(page(["a.jpg"], "0"), page([], token))
    images = list_images("s3://pictures/", None, read_settings())
    assert next(images).uri == "s3://pictures/a.jpg"
    with pytest.raises(SourceError, match="does not go on"):
        next(images)
    assert len(told.requests) <= 4


def test_a_listing_of_empty_pages_without_end_can_be_left(told: WebServer) -> None:
    pages = iter(range(10**9))
    told.answer = lambda _: page([], str(next(pages)))
    with opened_prefix("s3://pictures/", read_settings()) as prefix:
        for page_of_it in islice(prefix.pages(None), 5):
            assert page_of_it == ([], "")
    assert len(told.requests) == 5


def test_keys_that_do_not_begin_as_asked_for_are_refused(told: WebServer) -> None:
    told.always(page(["2023/a.jpg"]))
    with pytest.raises(SourceError, match="do not begin so"):
        listed("s3://pictures/2024/")


def test_a_key_that_cannot_be_stored_is_listed_as_unreadable(told: WebServer) -> None:
    long_key = "k" * 9_000 + ".jpg"
    told.always(page(["a%00.jpg", "b.jpg", long_key]))
    images = listed("s3://pictures/")
    assert [image.unreadable is None for image in images] == [False, True, False]
    for image in images:
        assert "\x00" not in image.uri + image.cursor + (image.unreadable or "")
    told.always(page(["b.jpg"]))
    assert listed("s3://pictures/", images[0].cursor) == [images[1]]
    assert "start-after=a%00.jpg" in told.requests[-1].path


def test_a_manifest_that_breaks_off_is_read_again(told: WebServer) -> None:
    line = b"s3://pictures/a.jpg\n"
    told.in_turn(Answer(200, line * 9, cut_to=99), Answer(200, line * 3))
    assert [image.cursor for image in listed("s3://pictures/list.txt")] == ["1", "2", "3"]


def test_a_manifest_that_always_breaks_off_is_an_error_not_a_short_list(told: WebServer) -> None:
    told.always(Answer(200, b"s3://pictures/a.jpg\n" * 3, cut_to=25))
    with pytest.raises(SourceError, match="broke off"):
        listed("s3://pictures/list.txt")
    assert len(told.requests) == 3
