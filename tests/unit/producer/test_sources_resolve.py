import os
import socket
from pathlib import Path

import pytest

from fakesweep.producer.sources import ResolvedSource, list_images, resolve_source
from fakesweep.schema.errors import SourceError
from fakesweep.schema.settings import read_settings

HERE = socket.gethostname()


@pytest.mark.parametrize(
    ("typed", "source"),
    [
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/", "s3://bucket/"),
        ("S3://bucket/A prefix", "s3://bucket/A prefix"),
        ("HTTP://Host.example:80/a.jpg#part", "http://host.example/a.jpg"),
        ("https://host/list.csv?sig=1", "https://host/list.csv?sig=1"),
    ],
)
def test_a_remote_source_belongs_to_no_host(typed: str, source: str) -> None:
    assert resolve_source(typed) == ResolvedSource(source, None)


@pytest.mark.parametrize(
    ("typed", "source"),
    [
        ("-", "-"),
        ("/photos/", "/photos"),
        ("/photos/../a.jpg", "/a.jpg"),
        ("file:///photos/a%20b.jpg", "/photos/a b.jpg"),
        ("/", "/"),
        (os.fsdecode(b"/photos/\xff"), "file:///photos/%FF"),
    ],
)
def test_a_local_source_names_its_host(typed: str, source: str) -> None:
    assert resolve_source(typed) == ResolvedSource(source, HERE)


def test_a_relative_path_becomes_absolute_and_links_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    assert resolve_source("link").source == str(tmp_path / "link")


def test_resolving_twice_changes_nothing(tmp_path: Path) -> None:
    for typed in ("s3://bucket", str(tmp_path), os.fsdecode(b"/\xff"), "http://Host/a"):
        once = resolve_source(typed)
        assert resolve_source(once.source) == once


def test_a_folder_whose_name_is_no_text_can_be_listed(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    (folder / "a.jpg").touch()
    source = resolve_source(str(folder)).source
    assert len(list(list_images(source, None, read_settings()))) == 1


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "empty"),
        ("gs://bucket/a", "scheme 'gs' is not known"),
        ("s3://", "no bucket name"),
        ("s3://x/a", "no bucket name"),
        ("http:///a.jpg", "no host"),
        ("/a\x00b", "NUL"),
        ("s3://bucket/\udcff", "Unicode"),
        ("http://host/" + "a" * 9_000, "longer than"),
    ],
)
def test_an_invalid_source_is_refused_in_one_line(typed: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as refusal:
        resolve_source(typed)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    "typed",
    [
        "https://tom:hush@host/a.jpg?token=hush",
        "https://tom:hush/hush@host/a.jpg",
        "http://tom:hush hush@host/a.jpg",
        "s3://tom:hush@bucket/prefix",
        "s3://tom:hush@bucket",
        "s3://tom:hush hush@bucket/prefix",
        "ftp://tom:hush@host/a.jpg",
        "file://tom:hush@host/a.jpg",
    ],
)
def test_a_password_in_a_source_is_refused_and_not_repeated(typed: str) -> None:
    with pytest.raises(SourceError) as refusal:
        resolve_source(typed)
    assert "hush" not in str(refusal.value)
    assert "tom" not in str(refusal.value)


def test_a_url_is_one_image() -> None:
    source = "https://host/a.jpg?sig=1"
    [image] = list_images(source, None, read_settings())
    assert image.uri == source
    assert list(list_images(source, image.cursor, read_settings())) == []
