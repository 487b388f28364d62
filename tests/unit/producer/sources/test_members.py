import os
import socket
from pathlib import Path

import pytest

from fakesweep.producer.sources import check_named, members, resolve_source
from fakesweep.producer.sources.members import grouped, list_members
from fakesweep.schema.errors import SourceError
from fakesweep.schema.ledger.scans.scans import NamedSource
from fakesweep.schema.settings import read_settings
from fakesweep.schema.uris import from_path

HERE = socket.gethostname()


def named(*texts: str) -> list[NamedSource]:
    return grouped([resolve_source(text) for text in texts])


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a" / "1.jpg", tmp_path / "b" / "no suffix", tmp_path / "b" / "2.png"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return paths


def test_files_that_follow_each_other_are_one_source_in_their_order(
    tmp_path: Path, files: list[Path]
) -> None:
    last, first, middle = map(str, files)
    (one,) = named(first, last, middle, first)
    assert one == NamedSource(f"4 files below {tmp_path}", HERE, (first, last, middle, first))
    images = list(list_members(one.members, None))
    assert [image.uri for image in images] == [
        from_path(Path(path)) for path in (first, last, middle, first)
    ]
    assert [image.size_bytes for image in images] == [1, 1, 1, 1]
    for number, image in enumerate(images, start=1):
        assert list(list_members(one.members, image.cursor)) == images[number:]


def test_folders_lists_and_prefixes_between_files_stay_where_they_are(
    tmp_path: Path, files: list[Path]
) -> None:
    first, second, third = map(str, files)
    (tmp_path / "list.txt").touch()
    said = named(first, second, str(tmp_path), third, str(tmp_path / "list.txt"), "s3://photos/a")
    assert [one.members for one in said] == [(first, second), (), (), (), ()]
    assert [one.source for one in said[1:]] == [
        str(tmp_path), third, str(tmp_path / "list.txt"), "s3://photos/a",
    ]  # fmt: skip


def test_addresses_and_versions_are_put_together_apart_from_files(files: list[Path]) -> None:
    urls = ["https://host/a.jpg", "s3://photos;versionId=1/b.jpg", "https://host/c"]
    said = named(*urls, *map(str, files[:2]), "https://host/list.csv")
    assert said[0] == NamedSource("3 addresses", None, tuple(urls))
    assert said[1].hostname == HERE
    assert len(said) == 3
    assert [image.uri for image in list_members(said[0].members, "1")] == urls[1:]


def test_a_name_that_is_no_text_is_a_member_like_others(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    path.write_bytes(b"x")
    (one,) = named(str(path), str(path))
    assert [image.uri for image in list_members(one.members, None)] == [from_path(path)] * 2
    one.source.encode()


@pytest.mark.parametrize(
    ("other", "says"),
    [("gone.jpg", r"gone\.jpg does not exist"), ("pipe.jpg", r"pipe\.jpg is neither a folder")],
)
def test_a_member_that_is_no_regular_file_is_refused_by_name(
    files: list[Path], other: str, says: str
) -> None:
    os.mkfifo(files[0].parent / "pipe.jpg")
    said = named(str(files[0]), str(files[0].parent / other), str(files[1]))
    assert len(said) == 3
    with pytest.raises(SourceError, match=says):
        check_named(said[1], read_settings())


def test_files_of_the_root_folder_are_below_it() -> None:
    assert members._group_name(("/a.jpg", "/b/c.jpg")) == "2 files below /"
    assert members._group_name(("/a/b.jpg", "/a/c/d.jpg")) == "2 files below /a"
