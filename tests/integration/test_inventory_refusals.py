"""S3 Inventory errors: refusals, missing files and broken transfers."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from fakesweep.producer.sources.inventory.listing import check_inventory, list_inventory
from fakesweep.schema.errors import SourceError
from fakesweep.schema.settings import read_settings
from fakesweep.schema.uris import to_s3
from tests.support.inventories import (
    LISTS,
    SOURCE,
    a,
    listed,
    manifest,
    packed,
    put,
    put_manifest,
    uris,
)
from tests.support.servers import S3Server
from tests.support.web_server import Answer, WebServer, web_server

pytestmark = pytest.mark.usefixtures("_small_pieces")


def refusal(*, versions: bool = False) -> str:
    """Return the error line of `check_inventory`."""
    with pytest.raises(SourceError) as refused:
        check_inventory(SOURCE, read_settings(), versions=versions)
    assert str(refused.value).isprintable()
    return str(refused.value)


@pytest.mark.usefixtures("_read_straight")
def test_an_inventory_without_images_is_refused(s3: S3Server, written_as: str) -> None:
    put(s3, [a("a.txt")], [], written_as=written_as)
    assert "names no image" in refusal()
    put(s3, written_as=written_as)
    assert "names no image" in refusal()


@pytest.mark.usefixtures("_read_straight")
def test_an_inventory_of_current_objects_has_no_versions(s3: S3Server, written_as: str) -> None:
    put(s3, [a("a.jpg")], written_as=written_as)
    assert "names no versions" in refusal(versions=True)


@pytest.mark.usefixtures("_read_straight")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"fileFormat": None}, "no `fileFormat`"),
        ({"fileFormat": "XML"}, "`fileFormat` is none of CSV, ORC, Parquet"),
        ({"fileSchema": None}, "no `fileSchema`"),
        ({"fileSchema": "Bucket, Size"}, "no column `Key`"),
        ({"sourceBucket": ""}, "no `sourceBucket`"),
        ({"destinationBucket": None}, "no `destinationBucket`"),
        ({"destinationBucket": "a/b"}, "no bucket name"),
        ({"files": {}}, "no list `files`"),
        ({"files": ["data/0"]}, "no JSON object"),
        ({"files": [{"MD5checksum": "0"}]}, "no `key`"),
        ({"files": [{"key": "data/0"}]}, "no `MD5checksum`"),
    ],
)
def test_a_manifest_that_lacks_a_part_is_refused(
    s3: S3Server, change: dict[str, Any], why: str
) -> None:
    put_manifest(s3, put(s3, [a("a.jpg")]) | change)
    line = refusal()
    assert f"{SOURCE} is no manifest of an S3 Inventory" in line
    assert why in line


@pytest.mark.usefixtures("_read_straight")
@pytest.mark.parametrize("raw", [b"", b"uri\na.jpg", b"[]", b"[" * 100_000, b"\xff"])
def test_what_is_no_manifest_is_refused(s3: S3Server, raw: bytes) -> None:
    s3.put(LISTS, to_s3(SOURCE).key, raw)
    assert "is no manifest of an S3 Inventory: it is no" in refusal()


def test_a_manifest_that_is_not_there_is_refused(s3: S3Server) -> None:
    s3.make_bucket(LISTS)
    s3.remove(LISTS, to_s3(SOURCE).key)
    assert f"{SOURCE} does not exist" in refusal()


@pytest.mark.usefixtures("_read_straight")
@pytest.mark.parametrize("cursor", [None, "a/b.jpg"])
def test_a_manifest_that_was_written_anew_is_not_gone_on_with(
    s3: S3Server, cursor: str | None
) -> None:
    put(s3, [a("a.jpg"), a("b.jpg")])
    cursor = cursor or listed()[0].cursor
    put(s3, [a("b.jpg"), a("a.jpg")])
    with pytest.raises(SourceError, match="written anew; scan it from the start"):
        listed(cursor)


def test_a_file_that_is_not_the_manifests_is_refused_by_name(s3: S3Server) -> None:
    put(s3, [a("a.jpg")])
    s3.put(LISTS, "photos/daily/data/0", packed([a("b.jpg")], ("Bucket", "Key"), "CSV"))
    line = refusal()
    assert "s3://lists/photos/daily/data/0" in line
    assert "MD5" in line


def test_files_before_a_missing_file_are_listed(s3: S3Server) -> None:
    put(s3, [a("a.jpg")], [a("b.jpg")])
    s3.remove(LISTS, "photos/daily/data/1")
    images = list_inventory(SOURCE, None, read_settings())
    assert next(images).uri == "s3://photos/a.jpg"
    with pytest.raises(SourceError, match=r"data/1 does not exist"):
        next(images)


@pytest.mark.parametrize(("admitted", "refused"), [("photos", "lists"), ("lists", "photos")])
def test_an_inventory_reaches_admitted_buckets_only(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, admitted: str, refused: str
) -> None:
    put(s3, [a("a.jpg")])
    monkeypatch.setenv("FAKESWEEP_BUCKETS", admitted)
    assert f"bucket '{refused}'" in refusal()
    assert "FAKESWEEP_BUCKETS" in refusal()


def test_other_formats_need_pyarrow_and_say_so(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "fakesweep.producer.sources.inventory.arrow")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    put(s3, [a("a.jpg")])
    assert uris() == ["s3://photos/a.jpg"]
    put_manifest(s3, put(s3, [a("a.jpg")]) | {"fileFormat": "Parquet"})
    assert "pip install 'fakesweep[parquet]'" in refusal()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A scripted S3 server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("FAKESWEEP_S3_ADDRESSING_STYLE", "path")
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "3")
    with web_server() as server:
        monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", server.url)
        yield server


def test_a_file_that_breaks_off_is_read_again(told: WebServer) -> None:
    raw = packed([a("a.jpg"), a("b.jpg")], ("Bucket", "Key"), "CSV")
    said = json.dumps(manifest({"data/0": raw}, ("Bucket", "Key"), "CSV")).encode()
    told.in_turn(
        Answer(200, said, cut_to=99), Answer(200, said),
        Answer(200, raw + bytes(99), cut_to=len(raw) + 9), Answer(200, raw),
    )  # fmt: skip
    assert uris() == ["s3://photos/a.jpg", "s3://photos/b.jpg"]


def test_a_file_that_always_breaks_off_is_an_error_not_a_short_list(told: WebServer) -> None:
    raw = packed([a("a.jpg")], ("Bucket", "Key"), "CSV")
    said = json.dumps(manifest({"data/0": raw}, ("Bucket", "Key"), "CSV")).encode()
    told.in_turn(Answer(200, said), Answer(200, raw + bytes(99), cut_to=len(raw)))
    with pytest.raises(SourceError, match="broke off"):
        listed()
    assert len(told.requests) == 4
