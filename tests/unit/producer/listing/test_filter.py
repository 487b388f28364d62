import unicodedata
from datetime import UTC, datetime, timedelta

import pytest

from fakesweep.producer.listing.filter import ImageFilter, check_selection
from fakesweep.schema.errors import SourceError
from fakesweep.schema.ledger.scans.listing_counts import ListingCounts
from fakesweep.schema.ledger.scans.scans import Entry, LeftOut, ListedImage
from fakesweep.schema.selection import Selection
from fakesweep.schema.words import LeftOutReason

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
COMPOSED = unicodedata.normalize("NFC", "Ümläut")
DECOMPOSED = unicodedata.normalize("NFD", "Ümläut")


def taken(selection: Selection, *entries: Entry) -> tuple[list[str], dict[tuple[str, str], int]]:
    images, counts = ImageFilter(selection, NOON).taken(entries)
    return [image.uri for image in images], {
        (one.sort, one.name): files for one, files in counts.items()
    }


def image(uri: str, **facts: object) -> ListedImage:
    return ListedImage(uri, "c", **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "uri"),
    [
        ("*glass plates*", "file:///a/glass%20plates/1.jpg"),
        ("/a/glass plates/*", "file:///a/glass%20plates/1.jpg"),
        ("file:///a/glass plates/*", "file:///a/glass%20plates/1.jpg"),
        ("*glass%20plates*", "file:///a/glass%20plates/1.jpg"),
        (f"*{COMPOSED}*", "file:///a/%C3%9Cml%C3%A4ut.jpg"),
        (f"*{DECOMPOSED}*", "file:///a/%C3%9Cml%C3%A4ut.jpg"),
        (f"*{COMPOSED}*", "file:///a/U%CC%88mla%CC%88ut.jpg"),
        (f"*{DECOMPOSED}*", f"s3://photos/{COMPOSED}.jpg"),
        (f"*{COMPOSED}*", f"s3://photos/{DECOMPOSED}.jpg"),
        ("s3://photos/a b.jpg", "s3://photos;versionId=x%3D/a b.jpg"),
        ("*/a b.jpg", "https://host/a%20b.jpg"),
        ("*caf?.jpg", "file:///caf%C3%A9.jpg"),
        ("*caf*.jpg", "file:///caf%E9.jpg"),
        ("*/caf?.jpg", "file:///a/caf%E9.jpg"),
        ("*/???/x.jpg", "file:///a/%E9%FFb/x.jpg"),
        ("*\n*", "file:///line%0Abreak.jpg"),
    ],
)
def test_a_pattern_matches_the_name_that_people_see(pattern: str, uri: str) -> None:
    assert taken(Selection(include=(pattern,)), image(uri)) == ([uri], {("include", "1"): 1})
    assert taken(Selection(exclude=(pattern,)), image(uri)) == (
        [], {("exclude", "1"): 1, ("left_out", "excluded"): 1},
    )  # fmt: skip


def test_each_pattern_that_matches_is_counted_for_itself() -> None:
    uris = ["s3://photos/a.jpg", "s3://photos/b.png", "s3://photos/c.gif"]
    chosen = Selection(include=("*.jpg", "*photos*", "*.webp"), exclude=("*.tif", "*/c*"))
    assert taken(chosen, *map(image, uris)) == (
        uris[:2],
        {("include", "1"): 1, ("include", "2"): 3, ("exclude", "2"): 1,
         ("left_out", "excluded"): 1},
    )  # fmt: skip


def test_excluded_entries_have_a_reason() -> None:
    entries: list[Entry] = [
        LeftOut("1", LeftOutReason.COMMENT),
        image("s3://photos/old.jpg", modified_at=NOON - timedelta(days=8)),
        image("s3://photos/small.jpg", size_bytes=1),
        image("s3://photos/large.jpg", size_bytes=100),
        image("s3://photos/other.png", size_bytes=10),
        image("s3://photos/right.jpg", size_bytes=10),
        image("s3://photos/vague.jpg"),
        image("list.txt#line-3", unreadable="line 3: the URI is empty"),
    ]
    chosen = Selection(include=("*.jpg",), since="7d", min_bytes=5, max_bytes=50)
    images, counts = taken(chosen, *entries)
    assert images == ["s3://photos/right.jpg", "s3://photos/vague.jpg", "list.txt#line-3"]
    assert {name: files for (sort, name), files in counts.items() if sort == "left_out"} == {
        "comment": 1, "too_old": 1, "too_small": 1, "too_large": 1, "not_included": 1,
    }  # fmt: skip


def test_without_a_selection_all_images_are_taken_and_exclusions_counted() -> None:
    entries: list[Entry] = [image("s3://photos/a.jpg"), LeftOut("2", LeftOutReason.OTHER_SUFFIX)]
    images, counts = ImageFilter(Selection(), NOON).taken(entries)
    assert images == entries[:1]
    assert counts == {ListingCounts("left_out", "other_suffix"): 1}


@pytest.mark.parametrize("pattern", ["", "a\0b", "caf\udce9*"])
def test_a_pattern_that_cannot_be_kept_is_refused(pattern: str) -> None:
    with pytest.raises(SourceError, match="pattern"):
        check_selection(Selection(exclude=(pattern,)))
