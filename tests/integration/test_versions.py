"""Object versions: each is listed, from any cursor, and fetched alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3.session
import pytest
from moto.server import ThreadedMotoServer

from fakesweep.producer.sources import list_images
from fakesweep.producer.sources.s3 import versions
from fakesweep.producer.sources.s3.versions import list_version, list_versions
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import ImageNotFound, SourceUnavailable
from fakesweep.schema.ledger.scans.scans import ListedImage
from fakesweep.schema.settings import read_settings
from fakesweep.schema.uris import S3Address, from_s3, to_s3
from fakesweep.workers.fetch import open_fetcher
from tests.support.servers import S3Server
from tests.support.web_server import Answer, WebServer, s3_error, web_server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STRANGE = "a b+c%20?&;=é/#.jpg"


@pytest.fixture(scope="module")
def _server() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator["S3Client"]:
    """A client of an S3 server with versions; the environment names the server, too."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testtest")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", _server)
    monkeypatch.setenv("FAKESWEEP_S3_ADDRESSING_STYLE", "path")
    client = boto3.session.Session().client("s3", endpoint_url=_server)
    yield client
    client.close()


@pytest.fixture
def bucket(client: "S3Client", request: pytest.FixtureRequest) -> str:
    """The name of a new bucket with versioning."""
    name = f"bucket-{abs(hash(request.node.name)):x}"
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def listed(source: str, cursor: str | None = None) -> list[ListedImage]:
    entries = list_versions(source, cursor, read_settings())
    return [entry for entry in entries if isinstance(entry, ListedImage)]


def fetched(*uris: str) -> list[bytes]:
    """Fetch in sequence by one fetcher: the first by boto3, the others by its route."""
    with open_fetcher(read_settings()) as fetcher:
        return [fetcher.fetch(uri) for uri in uris]


def put(client: "S3Client", bucket: str, key: str, *contents: bytes) -> list[str]:
    """Store contents under one key; return the versions' URIs."""
    return [
        from_s3(bucket, key, client.put_object(Bucket=bucket, Key=key, Body=content)["VersionId"])
        for content in contents
    ]


def test_every_version_is_an_image_and_fetched_for_itself(client: "S3Client", bucket: str) -> None:
    old, middle, new = put(client, bucket, STRANGE, b"old", b"middle", b"new")
    [other] = put(client, bucket, "b.jpg", b"other")
    images = listed(f"s3://{bucket}/")
    assert [image.uri for image in images] == [new, middle, old, other]
    assert fetched(*(image.uri for image in images)) == [b"new", b"middle", b"old", b"other"]
    assert fetched(f"s3://{bucket}/b.jpg", old, f"s3://{bucket}/{STRANGE}") == [
        b"other", b"old", b"new",
    ]  # fmt: skip
    assert [image.size_bytes for image in images] == [3, 6, 3, 5]
    assert images[2].etag == "149603e6c03516362a8da23f624db945"
    assert images[0].modified_at is not None


def test_delete_markers_are_passed_over_and_what_they_hide_is_listed(
    client: "S3Client", bucket: str
) -> None:
    first, second = put(client, bucket, "a.jpg", b"1", b"2")
    client.delete_object(Bucket=bucket, Key="a.jpg")
    [third] = put(client, bucket, "a.jpg", b"3")
    client.delete_object(Bucket=bucket, Key="a.jpg")
    client.delete_object(Bucket=bucket, Key="never.jpg")
    assert [image.uri for image in listed(f"s3://{bucket}/")] == [third, second, first]
    assert fetched(second, third) == [b"2", b"3"]
    with pytest.raises(ImageNotFound):
        fetched(f"s3://{bucket}/a.jpg")


def test_what_was_stored_before_versions_has_a_version_called_null(client: "S3Client") -> None:
    client.create_bucket(Bucket="unversioned")
    client.put_object(Bucket="unversioned", Key="a.jpg", Body=b"old")
    [image] = listed("s3://unversioned/")
    assert image.uri == "s3://unversioned;versionId=null/a.jpg"
    assert fetched(image.uri, image.uri) == [b"old", b"old"]
    status = {"VersioningConfiguration": {"Status": "Enabled"}}
    client.put_bucket_versioning(Bucket="unversioned", **status)  # type: ignore[arg-type]
    [new] = put(client, "unversioned", "a.jpg", b"new")
    assert [one.uri for one in listed("s3://unversioned/")] == [new, image.uri]
    assert fetched(image.uri, new) == [b"old", b"new"]


@pytest.mark.parametrize("page_keys", [1, 3, 1_000])
def test_listing_from_any_cursor_is_the_rest_of_the_listing(
    client: "S3Client", bucket: str, monkeypatch: pytest.MonkeyPatch, page_keys: int
) -> None:
    monkeypatch.setattr(versions, "PAGE_KEYS", page_keys)
    for key in ("a.jpg", STRANGE, "z.txt"):
        put(client, bucket, key, b"1", b"2")
        client.delete_object(Bucket=bucket, Key=key)
    put(client, bucket, "a.jpg", b"3")
    images = listed(f"s3://{bucket}/")
    assert len(images) == 5
    for number, image in enumerate(images, start=1):
        assert listed(f"s3://{bucket}/", image.cursor) == images[number:]


def test_prefixes_and_keys_count_as_they_do_for_current_objects(
    client: "S3Client", bucket: str
) -> None:
    keys = ("2024-old.jpg", "2024/a.jpg", "2024/a.jpg.large.jpg", "2024/b", "2024/c.txt", "2024/d/")
    uris = {key: put(client, bucket, key, b"1", b"2")[::-1] for key in keys}
    for prefix, expected in (
        ("2024", ["2024-old.jpg", "2024/a.jpg", "2024/a.jpg.large.jpg", "2024/b"]),
        ("2024/", ["2024/a.jpg", "2024/a.jpg.large.jpg", "2024/b"]),
        ("2024/a.jpg", ["2024/a.jpg"]),
        ("2024/a", ["2024/a.jpg", "2024/a.jpg.large.jpg"]),
        ("none", []),
    ):
        found = [image.uri for image in listed(f"s3://{bucket}/{prefix}")]
        assert found == [uri for key in expected for uri in uris[key]]
    first, second = listed(f"s3://{bucket}/2024/a.jpg")
    assert listed(f"s3://{bucket}/2024/a.jpg", first.cursor) == [second]
    assert listed(f"s3://{bucket}/2024/a.jpg", second.cursor) == []


def test_a_version_named_in_a_manifest_is_fetched(
    client: "S3Client", bucket: str, tmp_path: Path
) -> None:
    old, _ = put(client, bucket, "a.jpg", b"old", b"new")
    (tmp_path / "list.txt").write_text(f"{old}\n")
    (tmp_path / "list.csv").write_text(f"uri\n{old}\n")
    for name in ("list.txt", "list.csv"):
        [image] = list_images(str(tmp_path / name), None, read_settings())
        assert fetched(image.uri) == [b"old"]


def test_one_version_is_a_source_of_one_image() -> None:
    [image] = list_version("s3://photos;versionId=1/a.jpg", None)
    assert image.uri == "s3://photos;versionId=1/a.jpg"
    assert list(list_version(image.uri, image.cursor)) == []


def test_a_version_that_is_not_there_is_not_found(client: "S3Client", bucket: str) -> None:
    [uri] = put(client, bucket, "a.jpg", b"1")
    gone = from_s3(bucket, "a.jpg", "gone")
    with open_fetcher(read_settings()) as fetcher:
        for _ in range(2):
            with pytest.raises(ImageNotFound, match="NoSuchVersion"):
                fetcher.fetch(gone)
            assert fetcher.fetch(uri) == b"1"


def test_who_writes_a_version_behind_the_key_is_told_how_to(
    client: "S3Client", bucket: str
) -> None:
    put(client, bucket, "a.jpg", b"1")
    with pytest.raises(ImageNotFound, match=r"a version is written s3://bucket;versionId=ID/key$"):
        fetched(f"s3://{bucket}/a.jpg?versionId=1")


def test_the_signature_covers_the_version(s3: S3Server) -> None:
    s3.put("signed", STRANGE.replace("/", "-"), b"x")
    uri = from_s3("signed", STRANGE.replace("/", "-"), "null")
    assert fetched(uri, uri, uri) == [b"x"] * 3


def test_a_service_without_versions_says_so(s3: S3Server) -> None:
    s3.put("unkept", "a.jpg", b"current")
    with pytest.raises(SourceUnavailable, match="S3 answers NotImplemented"):
        fetched("s3://unkept;versionId=3/a.jpg")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server with the S3 answers of the test."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("FAKESWEEP_S3_ADDRESSING_STYLE", "path")
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "1")
    with web_server() as server:
        monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", server.url)
        yield server


@pytest.mark.parametrize("headers", [{}, {"x-amz-version-id": "4"}])
def test_another_version_is_never_taken_for_the_one_asked_for(
    told: WebServer, headers: dict[str, str]
) -> None:
    told.always(Answer(200, b"current", headers))
    assert fetched("s3://photos/a.jpg") == [b"current"]
    for before in ([], ["s3://photos/a.jpg"]):
        with pytest.raises(SourceUnavailable, match="does the service keep versions"):
            fetched(*before, "s3://photos;versionId=3/a.jpg")


def page(*found: tuple[str, str], after: tuple[str, str | None] | None = None) -> Answer:
    rows = "".join(
        f"<Version><Key>{key}</Key><VersionId>{version}</VersionId><Size>1</Size></Version>"
        for key, version in found
    )
    more = f"<IsTruncated>{str(after is not None).lower()}</IsTruncated>"
    if after is not None:
        more += f"<NextKeyMarker>{after[0]}</NextKeyMarker>"
        more += f"<NextVersionIdMarker>{after[1]}</NextVersionIdMarker>" if after[1] else ""
    body = f"<ListVersionsResult>{more}{rows}</ListVersionsResult>"
    return Answer(200, body.encode(), {"Content-Type": "application/xml"})


def addresses(images: list[ListedImage]) -> list[S3Address]:
    return [to_s3(image.uri) for image in images]


def test_an_empty_page_in_the_middle_is_not_the_end(told: WebServer) -> None:
    told.in_turn(page(("a", "1"), after=("a", "9")), page(after=("b", None)), page(("c", "1")))
    assert addresses(listed("s3://photos/")) == [
        S3Address("photos", "a", "1"), S3Address("photos", "c", "1"),
    ]  # fmt: skip
    asked = [request.path for request in told.requests]
    assert "version-id-marker=9" in asked[1]
    assert "key-marker=b" in asked[2]
    assert "version-id-marker" not in asked[2]


def test_a_server_that_begins_with_the_version_before_repeats_nothing(told: WebServer) -> None:
    told.in_turn(page(("a", "2"), ("a", "1"), after=("a", "1")), page(("a", "1"), ("a", "0")))
    first, second, third = listed("s3://photos/")
    assert [one.version for one in addresses([first, second, third])] == ["2", "1", "0"]
    told.always(page(("a", "1"), ("a", "0")))
    assert listed("s3://photos/", second.cursor) == [third]


def test_a_server_that_lists_in_no_order_is_refused_before_images_are_lost(told: WebServer) -> None:
    told.in_turn(page(("b", "1"), after=("b", "1")), page(("a", "1")))
    with pytest.raises(SourceError, match="order of its keys"):
        listed("s3://photos/")


def test_a_server_that_never_comes_to_an_end_is_refused(told: WebServer) -> None:
    told.always(page(("a", "1"), after=("a", "1")))
    with pytest.raises(SourceError, match="no listing of versions"):
        listed("s3://photos/")
    assert len(told.requests) == 2


def test_a_version_that_cannot_be_stored_is_listed_as_unreadable(told: WebServer) -> None:
    told.always(page(("k" * 9_000, "1"), ("l", "1")))
    long, short = listed("s3://photos/")
    assert "longer than 8192 bytes" in (long.unreadable or "")
    assert short.unreadable is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (s3_error(403, "AccessDenied"), "need s3:ListBucketVersions and s3:GetObjectVersion"),
        (s3_error(404, "NoSuchBucket"), "bucket 'photos' does not exist"),
        (s3_error(501, "NotImplemented"), "answers NotImplemented"),
        (Answer(200, b"<html>a page like any other</html>"), "is no S3 service"),
    ],
)
def test_versions_that_cannot_be_listed_are_refused_in_one_line(
    told: WebServer, answer: Answer, words: str
) -> None:
    told.always(answer)
    with pytest.raises(SourceError) as refused:
        listed("s3://photos/2024/")
    assert words in str(refused.value)
    assert str(refused.value).isprintable()


def test_a_bucket_that_is_not_admitted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKESWEEP_BUCKETS", "photos")
    with pytest.raises(SourceError, match="bucket 'others' is refused"):
        listed("s3://others/")
