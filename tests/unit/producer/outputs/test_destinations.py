"""Destinations: normal forms, and checks of folders."""

import socket
from pathlib import Path

import pytest

from fakesweep.producer.outputs.destinations import (
    MAX_PREFIX_BYTES,
    Destination,
    check_destination,
    resolve_destination,
)
from fakesweep.schema.errors import OutputError
from fakesweep.schema.settings import Settings

HERE = socket.gethostname()


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        ("s3://out", "s3://out/"),
        ("s3://out/", "s3://out/"),
        ("S3://out/june", "s3://out/june/"),
        ("s3://out/june/", "s3://out/june/"),
        ("s3://out/a b/%20é", "s3://out/a b/%20é/"),
    ],
)
def test_a_prefix_is_plain_text_that_ends_with_a_slash(typed: str, place: str) -> None:
    assert resolve_destination(typed) == Destination(place, None)


def test_a_folder_is_an_absolute_path_without_links_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    wanted = Destination(str(tmp_path.resolve() / "real" / "out"), HERE)
    for typed in ("real/out", "link/out/", "./link/x/../out", (tmp_path / "link/out").as_uri()):
        assert resolve_destination(typed) == wanted


@pytest.mark.parametrize(
    "typed",
    ["", "-", "a\x00b", "https://example.org/out", "s3://", "s3:///out", "s3://user:x@out/",
     "a\udcffb", "ftp://out/", "s3://out/" + "p" * (MAX_PREFIX_BYTES + 1)],
)  # fmt: skip
def test_an_invalid_destination_is_refused_in_one_line(typed: str) -> None:
    with pytest.raises(OutputError) as refused:
        resolve_destination(typed)
    assert str(refused.value).isprintable()


def check(path: Path) -> None:
    check_destination(Destination(str(path), HERE), Settings())


def test_a_folder_that_is_missing_is_made_and_one_that_is_empty_is_taken(tmp_path: Path) -> None:
    check(tmp_path / "a" / "b")
    check(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_with_anything_in_it_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"not empty \(it holds 'mine.txt'\)"):
        check(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(OutputError, match="Not a directory"):
            check(path)
