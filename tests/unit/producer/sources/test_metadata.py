"""Validation of untrusted object metadata."""

from datetime import UTC, datetime
from html import escape
from typing import Any

import pytest
from botocore.model import Shape

from fakesweep.producer.sources.metadata import LARGEST_SIZE, etag_of, moment_of, size_of
from fakesweep.producer.sources.s3.listing_parser import ListedObject, ListingParser


@pytest.mark.parametrize("said", ["0", "1", "9223372036854775807", 0, LARGEST_SIZE])
def test_a_size_is_kept(said: int | str) -> None:
    assert size_of(said) == int(said)


@pytest.mark.parametrize(
    "said",
    [
        "9223372036854775808", "1" * 5_000, "-1", "1.5", "", " ", "\u0661", "1e3", None, -1, 2**63,
        True, "0x10", "\x00",
    ],
)  # fmt: skip
def test_an_invalid_size_is_none(said: int | str | None) -> None:
    assert size_of(said) is None


@pytest.mark.parametrize(
    "said",
    [
        "", "yesterday", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
        "2026-01-01T00:00:00.000Z" * 3, "\x00", None, datetime(9999, 12, 31, tzinfo=UTC),
    ],
)  # fmt: skip
def test_an_invalid_time_is_none(said: str | None) -> None:
    assert moment_of(said) is None


def test_times_are_in_utc() -> None:
    assert moment_of("2026-01-01T01:00:00+01:00") == datetime(2026, 1, 1, tzinfo=UTC)
    assert moment_of("2026-01-01T00:00:00") == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("said", ["", '""', "a\x00b", "é", "a\nb", "a" * 5_000, None])
def test_an_invalid_etag_is_none(said: str | None) -> None:
    assert etag_of(said) is None


def found(*objects: str) -> list[ListedObject]:
    body = "<ListBucketResult><IsTruncated>false</IsTruncated>" + "".join(objects)
    parser: Any = ListingParser()
    response = {"body": f"{body}</ListBucketResult>".encode(), "headers": {}, "status_code": 200}
    shape: Any = type("Listing", (Shape,), {})("ListObjectsV2Output", {"type": "structure"})
    said: list[ListedObject] = parser._do_parse(response, shape)["Objects"]
    return said


@pytest.mark.parametrize("order", ["as S3 writes", "otherwise"])
@pytest.mark.parametrize(
    ("size", "time", "etag"),
    [
        ("9223372036854775808", "2026-01-01T00:00:00.000Z", "abc"),
        ("1" * 5_000, "2026-01-01T00:00:00.000Z", "abc"),
        ("1", "10000-01-01T00:00:00.000Z", "abc"),
        ("1", "never", "abc"),
        ("1", "2026-01-01T00:00:00.000Z", "a" * 5_000),
        ("1", "2026-01-01T00:00:00.000Z", "\u00e9"),
    ],
)
def test_an_object_whose_facts_make_no_sense_is_listed_without_them(
    order: str, size: str, time: str, etag: str
) -> None:
    parts = [
        "<Key>a.jpg</Key>", f"<LastModified>{time}</LastModified>",
        f"<ETag>{escape(etag)}</ETag>", f"<Size>{size}</Size>",
    ]  # fmt: skip
    if order == "otherwise":
        parts.reverse()
    [one] = found(f"<Contents>{''.join(parts)}</Contents>")
    assert one.key == "a.jpg"
    assert sum(fact is None for fact in (one.size_bytes, one.etag, one.modified_at)) == 1


def test_an_object_without_a_key_is_no_listing() -> None:
    with pytest.raises(ValueError, match="without a key"):
        found("<Contents><Size>1</Size></Contents>")
