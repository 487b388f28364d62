import codecs
import gzip
import random
from pathlib import Path

import pytest

from fakesweep.producer.sources import check_source, list_entries, list_images
from fakesweep.schema.errors import SourceError
from fakesweep.schema.ledger.scans.scans import LeftOut
from fakesweep.schema.selection import Selection
from fakesweep.schema.settings import read_settings

URIS = [f"s3://bucket/{number}.jpg" for number in range(3)]
TEXT = "\n".join(URIS)
TABLE = "\n".join(["id\turi", *(f"{number}\t{uri}" for number, uri in enumerate(URIS))])
OBJECTS = "\n".join(f'{{"source-ref": "{uri}"}}' for uri in URIS)


def listed(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    check_source(str(path), read_settings())
    return [image.uri for image in list_images(str(path), None, read_settings())]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("txt", TEXT), ("csv", TABLE.replace("\t", ",")), ("tsv", TABLE), ("jsonl", OBJECTS),
        ("ndjson", OBJECTS), ("manifest", OBJECTS),
    ],
)  # fmt: skip
def test_every_sort_of_list_is_read_packed_or_not(
    tmp_path: Path, suffix: str, content: str, *, packed: bool
) -> None:
    raw = content.encode()
    name = f"list.{suffix}.gz" if packed else f"list.{suffix}"
    assert listed(tmp_path / name, gzip.compress(raw) if packed else raw) == URIS


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_lines_end_in_any_of_three_ways(tmp_path: Path, ending: str, mark: bytes) -> None:
    assert listed(tmp_path / "list.txt", mark + (ending.join(URIS) + ending).encode()) == URIS
    table = TABLE.replace("\n", ending).encode()
    assert listed(tmp_path / "list.tsv", mark + table) == URIS


@pytest.mark.parametrize(
    "suffix",
    [
        "json",
        "xml",
        "yaml",
        "parquet",
        "xlsx",
        "gz",
        "zip",
        "tar.gz",
        "txt.bz2",
        "LIST",
        "text",
        "jsonlines",
    ],
)
def test_a_list_of_another_sort_is_refused_in_a_line_that_says_what_is_read(
    tmp_path: Path, suffix: str
) -> None:
    for source in (str(tmp_path / f"a.{suffix}"), f"https://host/a.{suffix}?sig=hush"):
        (tmp_path / f"a.{suffix}").write_text(TEXT)
        with pytest.raises(SourceError, match=r"\.txt, \.csv, \.tsv, \.jsonl") as refusal:
            check_source(source, read_settings())
        assert "hush" not in str(refusal.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_with_the_way_out(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "list.txt").write_text(TEXT, encoding=encoding)
    with pytest.raises(SourceError, match="save it as UTF-8"):
        check_source(str(tmp_path / "list.txt"), read_settings())


@pytest.mark.parametrize("broken", ["cut", "changed"])
def test_a_packed_list_that_is_broken_is_an_error_not_a_short_list(
    tmp_path: Path, broken: str
) -> None:
    lines = "\n".join(f"s3://bucket/{random.Random(n).random()}.jpg" for n in range(20_000))
    raw = gzip.compress(lines.encode())
    raw = raw[:-2_000] if broken == "cut" else raw[:-8] + bytes(8)
    (tmp_path / "list.txt.gz").write_bytes(raw)
    with pytest.raises(SourceError, match="packed by gzip, and broken"):
        list(list_images(str(tmp_path / "list.txt.gz"), None, read_settings()))


def test_a_packed_list_is_limited_by_its_unpacked_size(tmp_path: Path) -> None:
    (tmp_path / "list.txt.gz").write_bytes(gzip.compress(bytes(1 << 20)))
    small = read_settings().model_copy(update={"max_list_bytes": 1 << 19})
    with pytest.raises(SourceError, match="FAKESWEEP_MAX_LIST_BYTES"):
        list(list_images(str(tmp_path / "list.txt.gz"), None, small))


def test_a_comment_is_a_mark_with_a_space_behind_it_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("# mine\n#1 winner.jpg\n  #\n## more\n#a.jpg\ns3://bucket/a.jpg\n")
    entries = list(list_entries(str(path), None, read_settings(), Selection()))
    assert [one.cursor for one in entries if isinstance(one, LeftOut)] == ["1", "3", "4"]
    images = [one.uri for one in entries if not isinstance(one, LeftOut)]
    assert [uri.rpartition("/")[2] for uri in images] == ["%231%20winner.jpg", "%23a.jpg", "a.jpg"]
