"""S3 Inventory on a real server: listed whole, and from any cursor."""

import gzip
import io
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyarrow import parquet

from fakesweep.producer.sources.inventory.listing import check_inventory
from fakesweep.schema.errors import SourceError
from fakesweep.schema.settings import read_settings
from fakesweep.schema.uris import S3Address, to_s3
from tests.support.inventories import FORMATS, LISTS, SOURCE, Object, a, listed, put, put_raw, uris
from tests.support.servers import S3Server

pytestmark = pytest.mark.usefixtures("_small_pieces")

MOMENT = datetime(2024, 5, 6, 7, 8, 9, 123_000, tzinfo=UTC)
KEYS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=9)
VERSIONS = [
    a("a.jpg", VersionId="3", IsLatest=True, IsDeleteMarker=False),
    a("a.jpg", VersionId="2/+", IsLatest=False, IsDeleteMarker=False),
    a("a.jpg", IsLatest=False, IsDeleteMarker=False),
    a("b.jpg", VersionId="5", IsLatest=True, IsDeleteMarker=True),
    a("b.jpg", VersionId="4", IsLatest=False, IsDeleteMarker=False),
    a("c.jpg"),
]
ALL_COLUMNS = ("Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker")


def test_the_images_of_all_files_are_listed_in_order(s3: S3Server, written_as: str) -> None:
    put(s3, [a("b.jpg"), a("a.jpg")], [], [a("c.jpg")], written_as=written_as)
    check_inventory(SOURCE, read_settings())
    assert uris() == [f"s3://photos/{key}" for key in ("b.jpg", "a.jpg", "c.jpg")]


@pytest.mark.usefixtures("_read_straight")
def test_an_inventorys_metadata_of_an_object_is_kept(s3: S3Server, written_as: str) -> None:
    facts = {"Size": 5, "LastModifiedDate": MOMENT, "ETag": "78805a22-3"}
    objects = [a("a.jpg", **facts), a("b.jpg"), a("c.jpg", Size=0, ETag='"quoted"')]
    put(s3, objects, written_as=written_as, columns=("Bucket", "Key", *facts))
    first, second, third = listed()
    assert first[2:6] == (5, "78805a22-3", MOMENT, None)
    assert second[2:6] == (None, None, None, None)
    assert third[2:6] == (0, "quoted", None, None)


@pytest.mark.usefixtures("_read_straight")
def test_facts_that_make_no_sense_are_unknown_and_the_image_is_listed(s3: S3Server) -> None:
    strange = [
        a(f"{number}.jpg", Size=size, LastModifiedDate=moment, ETag=etag)
        for number, (size, moment, etag) in enumerate(
            [("many", "yesterday", "é"), ("-1", "2024-13-01", "\x00"), ("9" * 30, "1", "\x7f")]
        )
    ]
    put(s3, strange, columns=("Bucket", "Key", "Size", "LastModifiedDate", "ETag"))
    assert [image[2:6] for image in listed()] == [(None, None, None, None)] * 3


@pytest.mark.usefixtures("_read_straight")
@hypothesis_settings(
    max_examples=30,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(KEYS.map(lambda name: f"{name}.jpg"), min_size=1), st.sampled_from(FORMATS))
def test_no_letter_of_a_key_is_lost(s3: S3Server, keys: list[str], written_as: str) -> None:
    put(s3, [a(key) for key in keys], written_as=written_as)
    assert [to_s3(uri).key for uri in uris()] == keys


@pytest.mark.usefixtures("_read_straight")
def test_keys_that_end_like_images_or_in_no_extension_are_listed(s3: S3Server) -> None:
    keys = ("a.jpg", "b.PNG", "c.txt", "d/", "d.jpg/", "uploads/4f2a", "uploads/.keep", ".jpg")
    put(s3, [a(key) for key in keys])
    assert [to_s3(uri).key for uri in uris()] == ["a.jpg", "b.PNG", "uploads/4f2a", ".jpg"]


@pytest.mark.usefixtures("_read_straight")
def test_of_all_versions_the_latest_count_and_delete_markers_do_not(
    s3: S3Server, written_as: str
) -> None:
    put(s3, VERSIONS, written_as=written_as, columns=ALL_COLUMNS)
    assert uris() == ["s3://photos/a.jpg", "s3://photos/c.jpg"]


@pytest.mark.usefixtures("_read_straight")
def test_every_version_is_an_image_where_versions_are_wanted(s3: S3Server, written_as: str) -> None:
    put(s3, VERSIONS, written_as=written_as, columns=ALL_COLUMNS)
    check_inventory(SOURCE, read_settings(), versions=True)
    assert [to_s3(uri) for uri in uris(versions=True)] == [
        S3Address("photos", "a.jpg", "3"),
        S3Address("photos", "a.jpg", "2/+"),
        S3Address("photos", "a.jpg", "null"),
        S3Address("photos", "b.jpg", "4"),
        S3Address("photos", "c.jpg", "null"),
    ]


@pytest.mark.usefixtures("_read_straight")
@pytest.mark.parametrize("versions", [False, True])
def test_listing_from_any_cursor_is_the_rest_of_the_listing(
    s3: S3Server, written_as: str, versions: bool
) -> None:
    files: tuple[list[Object], ...] = (
        VERSIONS,
        [],
        [a("d.txt"), *VERSIONS, a("d/")],
        [a(f"{one}.jpg") for one in range(9)],
    )
    put(s3, *files, written_as=written_as, columns=ALL_COLUMNS)
    images = listed(versions=versions)
    assert len(images) == (19 if versions else 13)
    for number, image in enumerate(images, start=1):
        assert listed(image.cursor, versions=versions) == images[number:]


def test_files_before_a_cursor_are_not_read_again(s3: S3Server, written_as: str) -> None:
    put(s3, [a("a.jpg")], [a("b.jpg"), a("c.jpg")], written_as=written_as)
    _, second, _ = listed()
    s3.remove(LISTS, "photos/daily/data/0")
    assert uris(second.cursor) == ["s3://photos/c.jpg"]
    with pytest.raises(SourceError, match=r"data/0 does not exist"):
        listed()


@pytest.mark.usefixtures("_read_straight")
def test_broken_rows_are_listed_as_unreadable_and_spoil_no_other(s3: S3Server) -> None:
    rows = [
        '"photos","a.jpg"', '"photos","b%ff.jpg"', '"photos","100%.jpg"', '"photos"',
        '"photos","a%00.jpg"', '"photos",""', '"photos","' + "k" * 9_000 + '.jpg"',
        '"no bucket!","c.jpg"', '"photos","d', '"photos","e.jpg"',
    ]  # fmt: skip
    raw = gzip.compress("\n".join(rows).encode())
    put_raw(s3, {"data/0": raw}, ("Bucket", "Key"))
    first, *broken, last = listed()
    assert (first.uri, last.uri) == ("s3://photos/a.jpg", "s3://photos/e.jpg")
    assert [image.uri for image in broken] == [f"s3://lists/data/0#row-{n}" for n in range(2, 10)]
    for number, (image, why) in enumerate(
        zip(
            broken,
            ["Unicode", "URL-encoded", "1 columns", "NUL", "no key", "longer", "bucket", "CSV"],
            strict=True,
        ),
        start=2,
    ):
        reason = image.unreadable or ""
        assert reason.startswith(f"row {number} of s3://lists/data/0: ")
        assert why in reason
        assert reason.isprintable()
        assert len(reason) < 500


@pytest.mark.usefixtures("_read_straight")
@pytest.mark.parametrize("column", ["IsLatest", "IsDeleteMarker"])
def test_a_flag_that_says_neither_is_not_guessed(s3: S3Server, column: str) -> None:
    put(s3, [a("a.jpg", **{column: "perhaps"})], columns=("Bucket", "Key", column))
    [image] = listed()
    assert "neither true nor false" in (image.unreadable or "")


def test_a_key_that_is_no_text_is_listed_as_unreadable(s3: S3Server) -> None:
    stream = io.BytesIO()
    parquet.write_table(pa.table({"key": pa.array([b"a\xff.jpg", b"b.jpg", None])}), stream)
    put_raw(s3, {"data/0": stream.getvalue()}, ("Key",), "Parquet")
    broken, sound, empty = listed()
    assert sound.uri == "s3://photos/b.jpg"
    assert "Unicode" in (broken.unreadable or "")
    assert "no key" in (empty.unreadable or "")


def test_a_row_of_another_bucket_is_taken_with_its_own(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, [a("a.jpg"), {"Bucket": "others", "Key": "b.jpg"}, {"Key": "c.jpg"}])
    assert uris() == ["s3://photos/a.jpg", "s3://others/b.jpg", "s3://photos/c.jpg"]
    monkeypatch.setenv("FAKESWEEP_BUCKETS", "photos,lists")
    first, second, _ = listed()
    assert first.unreadable is None
    assert "bucket 'others' is refused (FAKESWEEP_BUCKETS)" in (second.unreadable or "")
