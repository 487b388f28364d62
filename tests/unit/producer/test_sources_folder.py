import inspect
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.sources import check_source, list_images
from schema.errors import SourceError
from schema.settings import read_settings
from schema.uris import from_path, to_path

NOBODY = 65_534


def listed(folder: Path, cursor: str | None = None) -> list[str]:
    """Return the relative paths a folder's listing holds."""
    images = list_images(str(folder), cursor, read_settings())
    return [str(to_path(image.uri).relative_to(folder)) for image in images]


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))


def test_images_are_listed_from_every_depth_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write(tmp_path, "b.jpg", "a/z.png", "a/b/c/d.webp", "a.jpg", "a-b.jpg", "c/1.heic")
    assert listed(tmp_path) == [
        "a-b.jpg", "a.jpg", "a/b/c/d.webp", "a/z.png", "b.jpg", "c/1.heic",
    ]  # fmt: skip


def test_only_names_that_end_like_an_image_count_in_any_case(tmp_path: Path) -> None:
    write(tmp_path, "a.JPG", "b.Jpeg", "c.txt", "d", "e.jpg.bak", "f.AVIF", "jpg", ".png")
    assert listed(tmp_path) == [".png", "a.JPG", "b.Jpeg", "f.AVIF"]


def test_hidden_files_and_folders_count(tmp_path: Path) -> None:
    write(tmp_path, ".hidden/a.jpg", ".b.jpg")
    assert listed(tmp_path) == [".b.jpg", ".hidden/a.jpg"]


@pytest.mark.parametrize(
    "name", ["-rf.jpg", "line\nbreak.jpg", "a b%20#?.jpg", os.fsdecode(b"\xff\xfe.jpg"), "日本.jpg"]
)
def test_any_file_name_makes_a_uri_that_can_be_stored(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    [image] = list_images(str(tmp_path), None, read_settings())
    assert image.uri.isascii()
    assert image.cursor.isascii()
    assert to_path(image.uri) == tmp_path / name


def test_size_and_time_come_along(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg")
    os.utime(tmp_path / "a.jpg", (1_000_000_000, 1_000_000_000))
    [image] = list_images(str(tmp_path), None, read_settings())
    assert image.size_bytes == 5
    assert image.modified_at == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)


def test_links_to_folders_are_not_followed_and_links_to_files_are(tmp_path: Path) -> None:
    write(tmp_path, "real/a.jpg")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    (tmp_path / "folder.jpg").symlink_to(tmp_path / "real")
    (tmp_path / "file.jpg").symlink_to(tmp_path / "real" / "a.jpg")
    assert listed(tmp_path) == ["file.jpg", "real/a.jpg"]


def test_a_link_that_leads_nowhere_is_listed_so_that_it_is_counted(tmp_path: Path) -> None:
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "gone.jpg")
    [image] = list_images(str(tmp_path), None, read_settings())
    assert image.size_bytes is None


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert listed(tmp_path / "link") == ["a.jpg"]


def test_pipes_are_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert listed(tmp_path) == []


def test_a_path_too_long_for_a_uri_is_listed_as_unreadable(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["é" * 100] * 5)
    write(folder, "a.jpg", "b.jpg")
    first, second = list_images(str(tmp_path), None, read_settings())
    assert first.unreadable is not None
    assert "longer than" in first.unreadable
    assert first.uri != second.uri
    assert [image.uri for image in list_images(str(tmp_path), first.cursor, read_settings())] == [
        second.uri
    ]


def test_a_tree_deeper_than_pythons_stack_is_listed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    write(tmp_path, "d/" * 150 + "a.jpg")
    request.addfinalizer(partial(sys.setrecursionlimit, sys.getrecursionlimit()))
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    [image] = list_images(str(tmp_path), None, read_settings())
    assert image.uri.endswith("/d/a.jpg")


def test_listing_goes_on_behind_a_file_that_is_gone_since(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b/1.jpg", "b/2.jpg", "c.jpg")
    images = list(list_images(str(tmp_path), None, read_settings()))
    (tmp_path / "b" / "1.jpg").unlink()
    assert listed(tmp_path, images[1].cursor) == ["b/2.jpg", "c.jpg"]


NAMES = st.binary(min_size=1, max_size=4).filter(
    lambda name: b"\0" not in name and b"/" not in name and name not in (b".", b"..")
)


@settings(max_examples=25, deadline=None, database=None)
@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map(tuple), min_size=1, max_size=8))
def test_listing_from_any_cursor_is_the_rest_of_the_listing(paths: set[tuple[bytes, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for *parents, name in paths:
            place = Path(folder, *(os.fsdecode(parent + b"-") for parent in parents))
            place.mkdir(parents=True, exist_ok=True)
            (place / os.fsdecode(name + b".jpg")).touch()
        images = list(list_images(folder, None, read_settings()))
        assert len(images) == len({image.uri for image in images}) == len(paths)
        for number, image in enumerate(images, start=1):
            assert list(list_images(folder, image.cursor, read_settings())) == images[number:]


def test_a_folder_without_an_image_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "notes.txt", "deep/more.doc")
    with pytest.raises(SourceError, match="holds no image"):
        check_source(str(tmp_path), read_settings())


def test_a_folder_with_an_image_far_below_passes(tmp_path: Path) -> None:
    write(tmp_path, "a/b/c/d.jpg")
    check_source(str(tmp_path), read_settings())


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        check_source(str(tmp_path / "none"), read_settings())
    with pytest.raises(SourceError, match="does not exist"):
        check_source(str(tmp_path / "none.csv"), read_settings())


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that holds an image, and a second one that may not be entered, by a plain user."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        write(folder, "a.jpg", "closed/b.jpg")
        (folder / "closed").chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        yield folder
        os.seteuid(user)
        (folder / "closed").chmod(0o700)


def test_a_folder_that_may_not_be_entered_is_named_not_passed_over(closed_folder: Path) -> None:
    images = list_images(str(closed_folder), None, read_settings())
    assert next(images).uri == from_path(closed_folder / "a.jpg")
    with pytest.raises(SourceError, match=r"closed.*Permission denied"):
        next(images)
    with pytest.raises(SourceError, match="Permission denied"):
        check_source(str(closed_folder / "closed"), read_settings())


def test_one_file_is_one_image_whatever_its_name(tmp_path: Path) -> None:
    write(tmp_path, "upload")
    source = str(tmp_path / "upload")
    check_source(source, read_settings())
    [image] = list_images(source, None, read_settings())
    assert image.uri == from_path(tmp_path / "upload")
    assert image.size_bytes == 6
    assert list(list_images(source, image.cursor, read_settings())) == []


def test_a_pipe_is_refused_with_the_way_to_use_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.txt")
    with pytest.raises(SourceError, match="fakesweep scan -"):
        check_source(str(tmp_path / "list.txt"), read_settings())
